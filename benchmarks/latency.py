"""Milliseconds per stage of a model, from pixels in memory to detections, beside the bare engine.

    python benchmarks/latency.py [MODEL] [--threads 1,2] [--runs 200] [--json FILE]

For each picture size and number of threads: median and 90th percentile of preprocess, run and
postprocess; and end to end / bare run, where the bare run is the engine alone on the prepared
tensor, measured in turn with the whole in one loop, so that a slow moment hits both.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgessd import Detector, load_image, zoo
from edgessd._cv2 import cv2
from edgessd.ops.preprocess import preprocess

SIZES = ((640, 480), (1920, 1080))
STAGES = ("preprocess", "run", "postprocess")


def measure(model: str | None, threads: int, size: tuple[int, int], runs: int) -> dict[str, object]:
    """Measure one combination on a bundled photo scaled to `size`."""
    photo = load_image(zoo.photos()[0])
    image = np.ascontiguousarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
    with Detector.load(model, threads=threads) as detector:
        tensor = preprocess(image, detector.spec.input)[None]
        times: dict[str, list[float]] = {stage: [] for stage in (*STAGES, "end to end", "bare run")}
        objects = 0
        for number in range(runs + 20):
            started = time.perf_counter()
            detector.runtime.run(tensor)
            middle = time.perf_counter()
            found = detector(image)
            ended = time.perf_counter()
            if number < 20:
                continue  # warm-up
            objects = len(found)
            times["bare run"].append((middle - started) * 1e3)
            times["end to end"].append((ended - middle) * 1e3)
            for stage in STAGES:
                times[stage].append(found.timings[stage])
        row: dict[str, object] = {
            "model": detector.spec.name,
            "size": f"{size[0]}x{size[1]}",
            "threads": threads,
            "objects": objects,
        }
    for name, values in times.items():
        row[name] = {"median": float(np.median(values)), "p90": float(np.percentile(values, 90))}
    row["ratio"] = float(np.median(times["end to end"]) / np.median(times["bare run"]))
    return row


def main() -> None:
    """Measure all combinations, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    counts = [int(count) for count in args.threads.split(",")]
    rows = [measure(args.model, threads, size, args.runs) for size in SIZES for threads in counts]
    names = [*STAGES, "end to end", "bare run"]
    table = Table("picture", "threads", *names, "ratio", title=f"{rows[0]['model']}: median (p90) ms")
    for row in rows:
        cells = [f"{row[name]['median']:.2f} ({row[name]['p90']:.2f})" for name in names]  # type: ignore[index]
        table.add_row(str(row["size"]), str(row["threads"]), *cells, f"{row['ratio']:.3f}")
    Console().print(table)
    if args.json:
        document = {"machine": f"{platform.machine()} {platform.processor()}", "rows": rows}
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
