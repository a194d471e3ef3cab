"""Results in, annotated pictures out, until the source or the user ends it."""

from __future__ import annotations

import sys
import time

from edgessd.apps.camera.control import Control
from edgessd.apps.camera.outputs import Output
from edgessd.apps.camera.pipeline import Pipeline, Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.view import View
from edgessd.errors import EdgeSSDError
from edgessd.io.images import Image

_REDRAW = 0.5  # seconds between two pictures while none come: what is said on them changes


def run_camera(
    pipeline: Pipeline,
    view: View,
    outputs: list[Output],
    recorder: Recorder,
    control: Control,
    *,
    max_frames: int | None = None,
) -> list[EdgeSSDError]:
    """Draw every result of `pipeline` and hand it to the outputs and the recorder.

    Ends with the source, after `max_frames`, or when `control.stop` is set. An output that fails is left out from
    then on, said on stderr, and its error returned; errors of the source are raised after all its frames.
    """
    failures: list[EdgeSSDError] = []
    working = list(outputs)
    told, shown = None, 0.0
    recorder.start()
    for result in pipeline:
        if result is None:
            trouble = pipeline.capture.trouble
            again = trouble != told or time.monotonic() - shown > _REDRAW
            if again:
                told, shown = trouble, time.monotonic()
            _idle(working, view.idle() if again else None, failures, control)
        else:
            _show(result, view, working, failures, control)
            age = (time.perf_counter() - result.frame.arrived) * 1e3
            recorder.add(result.detections, result.timings, age, result.counts)
            told, shown = None, time.monotonic()
            if recorder.frames == max_frames:
                break
        while control.paused and not control.stop.is_set():
            _idle(working, view.idle(), failures, control)
            control.stop.wait(0.1)
    return failures


def _show(result: Result, view: View, working: list[Output], failures: list[EdgeSSDError], control: Control) -> None:
    if not working:
        return
    begun = time.perf_counter()
    picture = result.frame.image
    if any(output.pictures for output in working):
        picture = view.draw(result)
        control.show(picture)
    drawn = time.perf_counter()
    result.timings["draw"] = (drawn - begun) * 1e3
    for output in list(working):
        try:
            output.add(result, picture)
        except EdgeSSDError as error:
            _leave_out(output, error, working, failures, control)
    result.timings["output"] = (time.perf_counter() - drawn) * 1e3


def _idle(working: list[Output], picture: Image | None, failures: list[EdgeSSDError], control: Control) -> None:
    for output in list(working):
        try:
            output.idle(picture)
        except EdgeSSDError as error:
            _leave_out(output, error, working, failures, control)


def _leave_out(
    output: Output, error: EdgeSSDError, working: list[Output], failures: list[EdgeSSDError], control: Control
) -> None:
    working.remove(output)
    failures.append(error)
    control.say(str(error))
    print(f"{error}; going on without it", file=sys.stderr, flush=True)
