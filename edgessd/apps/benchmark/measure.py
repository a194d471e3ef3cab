"""Times of one combination, in this process: `worker` calls it in a process that does nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.apps.benchmark.loading import load
from edgessd.apps.benchmark.peers import YOLOX, is_peer
from edgessd.apps.benchmark.process import peak_memory, resident_memory
from edgessd.apps.benchmark.records import Row, Sensors, Stage, Task
from edgessd.apps.benchmark.sensors import read_sensors
from edgessd.detector import Detector
from edgessd.errors import EdgeSSDError, OptionError
from edgessd.io.images import load_image
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.zoo import resolve_model

MOST_PICTURES, MOST_PIXEL_BYTES = 32, 200_000_000
SLOWER = 1.15
"""How much slower than the first third of the runs the last may be before the row says so."""
NOISY = 1.5
"""How far the 90th percentile may lie above the median before the row says so."""

Image = NDArray[np.uint8]


def measure_speed(task: Task) -> Row:
    """Load, first inference, warm-up and runs of one model; see `Row`. Raises EdgeSSDError where it cannot run."""
    if task.threads is not None:
        cv2.setNumThreads(task.threads)  # "one thread" means one core, preprocessing included
    images, decode = read_pictures(task.images)
    row = Row(model=task.model, runtime=task.engine, threads=task.threads, batch=task.batch)
    file = task.model.removeprefix(YOLOX)
    if not is_peer(file):
        row.size = file_size(resolve_model(file, task.runtime))
    resident = resident_memory()
    started = time.perf_counter()
    detector = load(task)
    row.load = (time.perf_counter() - started) * 1e3
    with detector:
        spec = detector.spec
        row.engine = detector.runtime.name
        half = task.provider.endswith("fp16")
        row.precision = "fp16" if half else "int8" if spec.quantization else spec.precision
        row.input = f"{spec.input.width}x{spec.input.height}"
        row.boxes = spec.priors.count if spec.priors.rule != "unknown" else None
        batches = [[images[(start + k) % len(images)] for k in range(task.batch)] for start in range(len(images))]
        times = repeat(lambda number: one_batch(detector, batches[number % len(batches)]), task, row)
    row.memory = peak_memory()
    if row.memory is not None and resident is not None:
        row.memory_model = max(row.memory - resident, 0.0)
    row.stages = {"decode": summary(decode), **{name: summary(values) for name, values in times.items()}}
    return row


def one_batch(detector: Detector, images: Sequence[Image]) -> dict[str, float]:
    """Run one batch the way `Detector` runs one picture; milliseconds per picture of each stage."""
    started = time.perf_counter()
    tensor = np.stack([preprocess(image, detector.spec.input) for image in images])
    prepared = time.perf_counter()
    outputs = detector.runtime.run(tensor)
    done = time.perf_counter()
    for number, image in enumerate(images):
        size = (image.shape[1], image.shape[0])
        postprocess(outputs, detector.spec, size, detector.thresholds, picture=number)
    ended = time.perf_counter()
    unit = 1e3 / len(images)
    return {
        "preprocess": (prepared - started) * unit,
        "run": (done - prepared) * unit,
        "postprocess": (ended - done) * unit,
        "total": (ended - started) * unit,
    }


def repeat(run: Callable[[int], dict[str, float]], task: Task, row: Row) -> dict[str, list[float]]:
    """Run, warm up, run many times; fill in first, rate, runs, sensors and notes of `row`; return the times."""
    row.first = run(0)["total"] * task.batch
    began = time.perf_counter()
    for number in range(task.warmup):
        run(number)
        if time.perf_counter() - began > task.seconds / 4:
            break
    row.before = read_sensors()
    times: dict[str, list[float]] = {}
    began = time.perf_counter()
    while row.runs < task.runs and (row.runs < task.fewest or time.perf_counter() - began < task.seconds):
        for name, value in run(row.runs).items():
            times.setdefault(name, []).append(value)
        row.runs += 1
    row.after = read_sensors()
    row.rate = 1e3 * row.runs / sum(times["total"])
    row.notes = remarks(times["total"], row.before, row.after)
    return times


def remarks(totals: Sequence[float], before: Sensors, after: Sensors) -> list[str]:
    """What a reader should know: slower towards the end, throttled, noisy."""
    notes = []
    third = len(totals) // 3
    if third:
        ratio = float(np.median(totals[-third:]) / np.median(totals[:third]))
        if ratio > SLOWER:
            notes.append(f"slower: the last third of the runs took {100 * (ratio - 1):.0f} % longer than the first")
    if before.throttled is not None and after.throttled is not None and after.throttled > before.throttled:
        notes.append(f"throttled: the system counted {after.throttled - before.throttled} events")
    spread = float(np.percentile(totals, 90) / np.median(totals))
    if spread > NOISY:
        notes.append(f"noisy: the 90th percentile is {spread:.1f} times the median")
    return notes


def read_pictures(sources: Sequence[str]) -> tuple[list[Image], list[float]]:
    """Decode pictures until there are enough; return them and the milliseconds of each decoding (the second one)."""
    images: list[Image] = []
    times: list[float] = []
    reasons: list[EdgeSSDError] = []
    for source in sources:
        try:
            image = load_image(source)
            started = time.perf_counter()
            load_image(source)
        except EdgeSSDError as error:
            reasons.append(error)
            continue
        times.append((time.perf_counter() - started) * 1e3)
        images.append(image)
        if len(images) == MOST_PICTURES or sum(each.nbytes for each in images) > MOST_PIXEL_BYTES:
            break
    if not images:
        raise reasons[0] if reasons else OptionError("there are no pictures to measure with: give --images")
    return images, times


def summary(values: Sequence[float]) -> Stage:
    """Median, 90th and 99th percentile."""
    median, p90, p99 = (round(float(value), 4) for value in np.percentile(values, (50, 90, 99)))
    return Stage(median, p90, p99)


def file_size(path: Path) -> float:
    """Return the megabytes (10^6 bytes) of a model file; of an OpenVINO file with its weights."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
    return sum(each.stat().st_size for each in (path, weights) if each is not None and each.exists()) / 1e6
