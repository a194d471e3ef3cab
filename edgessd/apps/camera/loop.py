"""Frame in, detections and annotated picture out, until the source or the user ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from edgessd.apps.camera.capture import Capture, Frame
from edgessd.apps.camera.outputs import Output
from edgessd.apps.camera.overlay import speed_panel
from edgessd.apps.camera.recorder import Recorder
from edgessd.io.draw import draw_detections
from edgessd.io.images import Image
from edgessd.results import Detections


def run_camera(
    capture: Capture,
    detect: Callable[[Image], Detections],
    outputs: Sequence[Output],
    recorder: Recorder,
    *,
    max_frames: int | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Detect in every frame of `capture`, draw the result, and hand it to the outputs and the recorder.

    Ends after `max_frames`, when `stop` is set, or when an output asks for it. Errors of the source
    are raised after all its frames have been handled.
    """
    recorder.start()
    for frame in capture:
        detections = detect(frame.image)
        found = time.perf_counter()
        timings = {"capture": frame.capture_ms, **detections.timings}
        going_on: list[bool] = []
        if outputs:
            picture = _annotate(frame, detections, capture, recorder)
            drawn = time.perf_counter()
            going_on = [output.add(frame, picture) for output in outputs]
            timings["draw"] = (drawn - found) * 1e3
            timings["output"] = (time.perf_counter() - drawn) * 1e3
        recorder.add(frame.index, detections, timings)
        if not all(going_on) or recorder.frames == max_frames or (stop is not None and stop.is_set()):
            return


def _annotate(frame: Frame, detections: Detections, capture: Capture, recorder: Recorder) -> Image:
    total = capture.source.frame_count
    number = f"{frame.index + 1}" if total is None else f"{frame.index + 1} / {total}"
    # The numbers are those of the frames before; the first frame has no panel.
    panel = speed_panel(detections.image_size, recorder.recent_fps(), recorder.recent_timings(), number)
    rect = panel.rect if recorder.frames > 0 else None
    picture = draw_detections(
        frame.image,
        detections.boxes,
        detections.labels,
        detections.scores,
        detections.names,
        copy=False,
        avoid=() if rect is None else (rect,),
    )
    if rect is not None:
        panel.draw(picture)
    return picture
