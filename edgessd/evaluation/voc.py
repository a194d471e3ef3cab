"""Pascal VOC's mean average precision (Everingham et al. 2010), as the devkit computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgessd.datasets import LabelledSet
from edgessd.evaluation.classes import under_classes
from edgessd.evaluation.matching import Flat, best_object, first_claims, flatten
from edgessd.results import Detections


@dataclass(frozen=True)
class Curve:
    """Precision and recall of one class at falling score, [D] each, and its number of objects (difficult not counted).

    true: [D] which detections are right.
    """

    objects: int
    score: NDArray[np.float64]
    true: NDArray[np.bool_]

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the objects found down to each score; NaN for a class without objects."""
        return np.cumsum(self.true) / (self.objects if self.objects else np.nan)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of right ones among the detections down to each score."""
        return np.cumsum(self.true) / np.arange(1, len(self.true) + 1)

    def average_precision(self, eleven_points: bool) -> float:
        """Average precision, 0..1; NaN for a class without objects."""
        return average_precision(self.recall, self.precision, eleven_points) if self.objects else float("nan")

    def best_f1(self) -> tuple[float, float, float, float] | None:
        """(score threshold, precision, recall, F1) where F1 is highest; None where nothing is right.

        Only between different scores can a threshold be put, so only there it is looked for.
        """
        if not self.objects or not self.true.any():
            return None
        precision, recall = self.precision, self.recall
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        f1[:-1][self.score[:-1] == self.score[1:]] = -1
        best = int(np.argmax(f1))
        return float(self.score[best]), float(precision[best]), float(recall[best]), float(f1[best])


def voc_ap(
    truth: LabelledSet, detections: Sequence[Detections], *, iou_threshold: float = 0.5, eleven_points: bool = True
) -> dict[str, float]:
    """Return the average precision, 0..1, of each class of `truth`, by name.

    detections: one for each sample, in order; their classes are matched as `ClassMap` does. Difficult objects
    (and crowds) count neither as found nor as missed. eleven_points: VOC07's mean over recalls
    0, 0.1, ... 1; otherwise the area under the curve (VOC 2010 and later). NaN for a class without objects.
    """
    curves = voc_curves(flatten(truth, under_classes(detections, truth.classes)), iou_threshold)
    return {name: curve.average_precision(eleven_points) for name, curve in zip(truth.classes, curves, strict=True)}


def voc_curves(flat: Flat, iou_threshold: float = 0.5) -> list[Curve]:
    """Return the curve of each class.

    As the devkit has it: a detection answers to the object of its class that it overlaps most. It is
    right if that IoU is at least the threshold and no surer detection claimed the object, and left out
    if the object is difficult.
    """
    overlap, which = best_object(flat)
    hit = overlap >= iou_threshold
    left_out = hit & flat.ignored[which] if len(flat.ignored) else np.zeros(len(hit), bool)
    true = first_claims(hit & ~left_out, which)
    counts = flat.counts
    order = np.argsort(flat.label, kind="stable")
    edges = np.searchsorted(flat.label[order], np.arange(flat.num_classes + 1))
    curves = []
    for label in range(flat.num_classes):
        rows = order[edges[label] : edges[label + 1]]
        rows = rows[~left_out[rows]]
        curves.append(Curve(int(counts[label]), flat.score[rows], true[rows]))
    return curves


def average_precision(recall: NDArray[np.float64], precision: NDArray[np.float64], eleven_points: bool) -> float:
    """Average precision of a curve given by falling score: VOC07's eleven points, or the area under its envelope."""
    if eleven_points:
        points = [precision[recall >= t - 1e-12].max(initial=0.0) for t in np.linspace(0, 1, 11)]
        return float(np.mean(points))
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
