"""How near the camera pipeline comes to its slowest stage, and what it does to every frame of a clip.

    python benchmarks/camera.py clip.mp4 [more.mp4] [--model FILE] [--threads 1] [--frames 300] [--json out.json]

For each clip each stage is timed alone (reading; detecting; drawing; encoding the output video, which has a thread of
its own), then the whole pipeline, `--repeat` times in turns; the ratio is the median of those of the turns. 1.00 would
mean that the other stages cost nothing beside the slowest.
"""

from __future__ import annotations

import argparse
import json
import statistics
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

KEPT = 8


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def read(clip: str, count: int) -> list[Any]:
    """Read `count` frames; a few of them, spread over the clip, are kept: as many as a processor's cache holds."""
    kept = []
    with VideoFile(clip) as video:
        for number, (image, _) in enumerate(video):
            if number % max(1, count // KEPT) == 0 and len(kept) < KEPT:
                kept.append(image)
            if number == count - 1:
                break
    return kept


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


def alone(clip: str, engine: Engine, count: int) -> dict[str, float]:
    """Seconds of each stage for `count` frames."""
    drawing = open_drawing("own")
    reading, frames = timed(lambda: read(clip, count))
    turns = [index % len(frames) for index in range(count)]
    detecting, found = timed(lambda: [engine.detect(frames[index]) for index in turns])
    results = [Result(Frame(index, frames[index], 0.0, 0.0, 0.0), found[index]) for index in turns]
    painting, pictures = timed(lambda: [drawing.draw(each.frame.image, each, ()) for each in results])
    encoding, _ = timed(lambda: encode(pictures, 25.0))
    return {"read": reading, "detect": detecting, "draw": painting, "encode": encoding}


def measure(clip: str, engine: Engine, count: int, repeat: int) -> dict[str, Any]:
    """The figures of one clip, seconds."""
    rounds, done = [], 0
    for _ in range(repeat):
        seconds = alone(clip, engine, count)
        seconds["pipeline"], done = whole(clip, engine, count)
        rounds.append(seconds)
    middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    slowest = max(("read", "detect", "draw", "encode"), key=lambda name: middle[name])
    ratios = sorted(each["pipeline"] / each[slowest] for each in rounds)
    return {
        "clip": Path(clip).name,
        "frames": done,
        "seconds": {name: round(value, 3) for name, value in middle.items()},
        "slowest": slowest,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(value, 3) for value in ratios],
        "fps": round(done / middle["pipeline"], 1),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=300, help="of each clip")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engine = Engine(
        lambda model, runtime: Detector.load(model or None, runtime, options.threads), {"": options.model or ""}, ""
    )
    rows = []
    print(f"{'clip':24} frames  read s  detect  draw  encode  pipeline  slowest  ratio (lowest, highest)  FPS")
    for clip in options.clips:
        row = measure(clip, engine, options.frames, options.repeat)
        rows.append(row)
        s = row["seconds"]
        print(
            f"{row['clip'][:24]:24} {row['frames']:6} {s['read']:7.2f} {s['detect']:7.2f} {s['draw']:5.2f} "
            f"{s['encode']:7.2f} {s['pipeline']:9.2f}  {row['slowest']:7} {row['ratio']:5.2f} "
            f"({row['ratios'][0]:.2f}, {row['ratios'][-1]:.2f})      {row['fps']:5.0f}",
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
