"""Average precision of one model in one runtime, through the same steps as `edgessd evaluate`."""

from __future__ import annotations

import math

from edgessd.apps.benchmark.loading import load
from edgessd.apps.benchmark.records import Row, Task
from edgessd.datasets import LabelledSet
from edgessd.datasets.load import load_dataset
from edgessd.evaluation import detect_all, evaluate


def measure_accuracy(task: Task) -> Row:
    """Detect in all pictures of `task.data`; the row has `accuracy` in percent. Raises EdgeSSDError."""
    row = Row(model=task.model, runtime=task.engine, threads=task.threads)
    truth = read_data(task)
    with load(task) as detector:
        skipped: list[str] = []
        found = detect_all(detector, truth, task.metric, skipped=skipped.append)
        result = evaluate(truth, found, task.metric, model_classes=detector.spec.classes)
    row.accuracy = {name: round(value, 2) for name, value in result.figures.items() if not math.isnan(value)}
    row.notes = [f"{len(skipped)} pictures cannot be read: {skipped[0]}"] if skipped else []
    return row


def read_data(task: Task) -> LabelledSet:
    """Return the labelled pictures of a task, at most `task.limit`."""
    truth = load_dataset(task.data, task.split)
    return truth if task.limit is None else truth.take(range(min(task.limit, len(truth))))
