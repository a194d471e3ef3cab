"""Pascal VOC's mean average precision (Everingham et al. 2010), as the devkit computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgessd.evaluation.data import LabelledSet
from edgessd.ops.boxes import iou_matrix
from edgessd.results import Detections


def voc_ap(
    truth: LabelledSet, detections: Sequence[Detections], *, iou_threshold: float = 0.5, eleven_points: bool = True
) -> dict[str, float]:
    """Return the average precision, 0..1, of each class of `truth`, by name.

    detections: one for each sample, in order; their classes are matched by name. Difficult objects
    count neither as found nor as missed. eleven_points: VOC07's mean over recalls 0, 0.1, ... 1;
    otherwise the area under the curve (VOC 2010 and later). NaN for a class without objects.
    """
    return {
        name: _class_ap(truth, detections, label, name, iou_threshold, eleven_points)
        for label, name in enumerate(truth.classes)
    }


def _class_ap(
    truth: LabelledSet, detections: Sequence[Detections], label: int, name: str, iou_threshold: float, eleven: bool
) -> float:
    scores, hits = [], []
    objects = 0
    for sample, found in zip(truth.samples, detections, strict=True):
        mine = sample.labels == label
        difficult = sample.difficult[mine]
        objects += int((~difficult).sum())
        column = found.classes.index(name) if name in found.classes else -1
        chosen = found[found.labels == column]
        overlaps = iou_matrix(chosen.boxes, sample.boxes[mine])
        taken = np.zeros(mine.sum(), bool)
        for row in np.argsort(-chosen.scores, kind="stable"):
            best = int(overlaps[row].argmax()) if overlaps.shape[1] else -1
            hit = best >= 0 and overlaps[row, best] >= iou_threshold
            if hit and difficult[best]:
                continue
            scores.append(chosen.scores[row])
            hits.append(hit and not taken[best])
            if hit:
                taken[best] = True
    if not objects:
        return float("nan")
    order = np.argsort(-np.array(scores), kind="stable")
    true = np.cumsum(np.array(hits, bool)[order])
    recall = true / objects
    precision = true / np.arange(1, len(true) + 1)
    return average_precision(recall, precision, eleven)


def average_precision(recall: NDArray[np.float64], precision: NDArray[np.float64], eleven_points: bool) -> float:
    """Average precision of a curve given by falling score: VOC07's eleven points, or the area under its envelope."""
    if eleven_points:
        points = [precision[recall >= t - 1e-12].max(initial=0.0) for t in np.linspace(0, 1, 11)]
        return float(np.mean(points))
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
