"""The command: boxes on a camera, a video or a stream."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.loop import run_camera
from edgessd.apps.camera.outputs import Output, VideoOutput, WindowOutput, closing_all
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.signals import stop_on_signals
from edgessd.apps.camera.sources import FrameSource, open_source
from edgessd.apps.camera.window import why_no_window
from edgessd.cli import options
from edgessd.errors import InputError, OptionError
from edgessd.io.files import check_writable
from edgessd.io.video import check_video_target

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def camera(
    source: Annotated[
        str,
        typer.Option(help="Number of a camera, a video file, the address of a stream (rtsp, http), or demo."),
    ] = "0",
    model: options.Model = None,
    runtime: options.Runtime = None,
    threads: options.Threads = None,
    spec: options.Spec = None,
    score_threshold: options.ScoreThreshold = None,
    classes: options.Classes = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the annotated video (.mp4, .mov, .mkv or .avi).")
    ] = None,
    window: Annotated[
        bool | None, typer.Option("--window/--no-window", help="Show a window; default: where there is a display.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write summary and detections of every frame to this JSON file.")
    ] = None,
) -> None:
    """Detect objects on a camera, a video or a stream, live. q or Esc in the window, or Ctrl-C, ends it."""
    _check_targets(source, output, json_file)
    frames = open_source(source)
    problem: Exception | None = None
    with stop_on_signals() as stop, closing(frames):
        detector = options.load_detector(model, runtime, threads, spec, score_threshold, classes=classes)
        outputs = _outputs(frames, output, window)
        recorder = Recorder(keep_frames=json_file is not None)
        with detector, closing(recorder), Capture(frames, stop=stop) as capture:
            try:
                with closing_all(outputs):
                    run_camera(capture, detector, outputs, recorder, max_frames=max_frames, stop=stop)
            except Exception as error:  # what was found until then is kept; raised again below
                problem = error
            summary = recorder.summary(capture.dropped)
            if json_file is not None and recorder.frames:
                head = {
                    "source": frames.name,
                    "model": detector.spec.name,
                    "runtime": detector.runtime.name,
                    "error": str(problem) if problem is not None else None,
                    "summary": summary,
                }
                recorder.write_json(json_file, head)
    if recorder.frames:
        _print_summary(summary)
        for written in (output, json_file):
            if written is not None:
                print(f"wrote {written}")
    if problem is not None:
        raise problem
    if not recorder.frames and not stop.is_set():
        raise InputError(f"{frames.name}: no frames came from it: check it in a player, or try --source demo")


def _check_targets(source: str, output: Path | None, json_file: Path | None) -> None:
    """Refuse before the work what could only fail after it."""
    if output is not None:
        check_video_target(output)
        if output.exists() and Path(source).exists() and output.samefile(source):
            raise OptionError(f"{output} would overwrite its own source: give --output another name")
    if json_file is not None:
        check_writable(json_file)


def _outputs(frames: FrameSource, output: Path | None, window: bool | None) -> list[Output]:
    outputs: list[Output] = []
    if output is not None:
        outputs.append(VideoOutput(output, fps=frames.fps, live=frames.live))
    if window is not False:
        reason = why_no_window()
        if reason is None:
            outputs.append(WindowOutput())
        else:
            print(f"no window: {reason}; going on without one", file=sys.stderr)
    return outputs


def _print_summary(summary: dict[str, Any]) -> None:
    dropped = f", {summary['dropped']} dropped" if summary["dropped"] else ""
    print(f"frames      {summary['frames']}{dropped}")
    print(f"speed       {summary['fps']:.1f} FPS over {summary['seconds']:.1f} s")
    print("median ms   " + "  ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items()))
    objects = "  ".join(f"{name} {count}" for name, count in summary["objects"].items())
    print(f"objects     {objects or 'none'}")
