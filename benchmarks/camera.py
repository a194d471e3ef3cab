"""How near the camera pipeline comes to its slowest stage, and what it does to every frame of a clip.

    python benchmarks/camera.py clip.mp4 [more.mp4] [--model FILE] [--threads 1] [--frames 300] [--json out.json]

For each clip each stage is timed alone (reading; detecting; drawing; encoding the output video, which has a thread of
its own), then the whole pipeline, `--repeat` times; the best of each are compared, as other load only slows down.
1.00 would mean that the other stages cost nothing beside the slowest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgessd import Detector
from edgessd.apps.camera.capture import Capture, Frame
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.drawing import open_drawing
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.loop import run_camera
from edgessd.apps.camera.outputs import VideoOutput
from edgessd.apps.camera.pipeline import Pipeline, Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.sources import open_source
from edgessd.apps.camera.view import View
from edgessd.io.video import VideoFile, VideoWriter


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def read(clip: str, count: int) -> list[Any]:
    """Read frames."""
    frames = []
    with VideoFile(clip) as video:
        for image in video:
            frames.append(image)
            if len(frames) == count:
                break
    return frames


def encode(pictures: list[Any], fps: float) -> None:
    """Write a video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.mp4"
        with VideoWriter(path, fps=fps, size=pictures[0].shape[1::-1]) as writer:
            for picture in pictures:
                writer.write(picture)


def whole(clip: str, engine: Engine, count: int) -> tuple[float, int]:
    """Seconds and frames of the whole pipeline."""
    source = open_source(clip)
    stop = threading.Event()
    capture, control, recorder = Capture(source, stop=stop), Control(engine, stop), Recorder()
    view = View(capture, control, recorder, open_drawing("own"), [])
    with tempfile.TemporaryDirectory() as folder:
        output = VideoOutput(Path(folder) / "out.mp4", fps=source.fps, live=False)
        begun = time.perf_counter()
        with capture, Pipeline(capture, engine.detect, stop=stop) as pipeline:
            run_camera(pipeline, view, [output], recorder, control, max_frames=count)
        output.close()
        return time.perf_counter() - begun, recorder.frames


def measure(clip: str, engine: Engine, count: int, repeat: int) -> dict[str, Any]:
    """The figures of one clip, seconds."""
    drawing = open_drawing("own")
    seconds: dict[str, list[float]] = {"read": [], "detect": [], "draw": [], "encode": [], "pipeline": []}
    done = 0
    for _ in range(repeat):
        spent, frames = timed(lambda: read(clip, count))
        seconds["read"].append(spent)
        spent, found = timed(lambda frames=frames: [engine.detect(image) for image in frames])
        seconds["detect"].append(spent)
        results = [
            Result(Frame(number, image, 0.0, 0.0, 0.0), each)
            for number, (image, each) in enumerate(zip(frames, found, strict=True))
        ]
        spent, pictures = timed(
            lambda results=results: [drawing.draw(result.frame.image, result, ()) for result in results]
        )
        seconds["draw"].append(spent)
        seconds["encode"].append(timed(lambda pictures=pictures: encode(pictures, 25.0))[0])
        del pictures, results, found, frames
        spent, done = whole(clip, engine, count)
        seconds["pipeline"].append(spent)
    best = {name: min(values) for name, values in seconds.items()}
    slowest = max(("read", "detect", "draw", "encode"), key=lambda name: best[name])
    return {
        "clip": Path(clip).name,
        "frames": done,
        "seconds": {name: round(value, 3) for name, value in best.items()},
        "slowest": slowest,
        "ratio": round(best["pipeline"] / best[slowest], 3),
        "fps": round(done / best["pipeline"], 1),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=300, help="of each clip, kept in memory")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = Engine(
        lambda model, runtime: Detector.load(model or None, runtime, options.threads), {"": options.model or ""}, ""
    )
    rows = []
    print(f"{'clip':24} frames  read s  detect  draw  encode  pipeline  slowest  ratio   FPS")
    for clip in options.clips:
        row = measure(clip, engine, options.frames, options.repeat)
        rows.append(row)
        s = row["seconds"]
        print(
            f"{row['clip'][:24]:24} {row['frames']:6} {s['read']:7.2f} {s['detect']:7.2f} {s['draw']:5.2f} "
            f"{s['encode']:7.2f} {s['pipeline']:9.2f}  {row['slowest']:7} {row['ratio']:6.2f} {row['fps']:5.0f}",
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
