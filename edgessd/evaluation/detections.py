"""Detect in every picture of a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgessd.datasets import LabelledSet
from edgessd.detector import Detector
from edgessd.errors import InputError
from edgessd.evaluation.protocols import Metric, under_protocol
from edgessd.results import Detections
from edgessd.spec import ModelSpec


def detect_all(
    detector: Detector,
    truth: LabelledSet,
    metric: Metric | None = "coco",
    *,
    progress: Callable[[int, int], None] | None = None,
    skipped: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Detections]:
    """Detect in every picture, in order, under the thresholds at which `metric` is measured (`protocols`).

    metric: that of `evaluate`; None takes the detector's own thresholds, which leave out what counts for average
    precision. progress: called with (done, all) after each. skipped: called with the reason for each picture that
    cannot be read, which then counts as one without detections; without it such a picture raises InputError.
    stop: asked after each picture whether to end there.
    """
    if metric is not None:
        detector = under_protocol(detector, metric)
    found: list[Detections] = []
    for sample in truth.samples:
        try:
            found.append(detector(sample.image))
        except InputError as error:
            if skipped is None:
                raise
            skipped(str(error))
            found.append(_nothing(detector.spec, sample.size))
        if progress is not None:
            progress(len(found), len(truth.samples))
        if stop is not None and stop():
            break
    return found


def _nothing(spec: ModelSpec, size: tuple[int, int] | None) -> Detections:
    empty = np.zeros(0, np.float32)
    labels = np.zeros(0, np.int64)
    return Detections(empty, empty, labels, spec.classes, size or (1, 1), category_ids=spec.category_ids)
