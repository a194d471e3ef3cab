"""`evaluate`: all figures of one set of detections, ready to print, to plot and to write as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.datasets import LabelledSet
from edgessd.detector import Detector
from edgessd.errors import InputError, OptionError, did_you_mean
from edgessd.evaluation.classes import ClassMatch, align
from edgessd.evaluation.coco import coco_figures
from edgessd.evaluation.confusion import confusion
from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.errors import ErrorKinds, GroupCurve, class_shares, error_kinds, group_curve, group_dict
from edgessd.evaluation.groups import groups, similar
from edgessd.evaluation.matching import Flat, flatten
from edgessd.evaluation.protocols import METRICS, Metric
from edgessd.evaluation.sensitivity import Sensitivity, sensitivity
from edgessd.evaluation.voc import Curve, voc_curves
from edgessd.results import Detections


@dataclass(frozen=True)
class ClassResult:
    """One class: its names, number of objects (difficult ones and crowds not counted), AP in percent (NaN without).

    best: (score threshold, precision, recall, F1), 0..1, where F1 at IoU 0.5 is highest; None where
    nothing is found.
    """

    name: str
    model_name: str
    objects: int
    ap: float
    best: tuple[float, float, float, float] | None


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All figures. `figures` is in percent: mAP, or COCO's nine; mAP is over classes with objects."""

    metric: Metric
    figures: dict[str, float]
    classes: tuple[ClassResult, ...]
    match: ClassMatch
    images: int
    flat: Flat
    curves: tuple[Curve, ...]

    def __str__(self) -> str:
        """The figures, then one line a class."""
        width = max(len(each.name) for each in self.classes)
        lines = [f"{each.name:{width}} {each.objects:7} objects  AP {_text(each.ap, 1):>5}" for each in self.classes]
        return "\n".join([self.summary, *lines])

    def __repr__(self) -> str:
        """One line: the numbers behind it are thousands."""
        return f"<Evaluation {self.summary}>"

    @property
    def summary(self) -> str:
        """One line: metric, pictures, classes with objects, figures."""
        figures = ", ".join(f"{key} {_text(value, 2)}" for key, value in self.figures.items())
        measured = sum(each.objects > 0 for each in self.classes)
        return f"{self.metric} on {self.images} pictures, {measured} classes: {figures}"

    @property
    def names(self) -> tuple[str, ...]:
        """The evaluated classes, as the data spells them."""
        return tuple(each.name for each in self.classes)

    @cached_property
    def error_kinds(self) -> ErrorKinds:
        """The kind of every detection."""
        return error_kinds(self.flat, similar(self.names))

    @cached_property
    def groups(self) -> list[GroupCurve]:
        """Error curves: of all classes, then of each group that is there."""
        found = (group_curve(self.error_kinds, name, labels, self.names) for name, labels in groups(self.names).items())
        return [curve for curve in found if curve is not None]

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """Sensitivity to size and aspect ratio, of each class with enough objects."""
        return sensitivity(self.flat, self.names)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts [C + 1, C + 1], see `confusion`."""
        return confusion(self.flat, self.curves)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return {
            "metric": self.metric,
            "figures": {key: _rounded_or_none(value) for key, value in self.figures.items()},
            "images": self.images,
            "detections": len(self.flat.label),
            "classes": [
                {
                    "name": each.name,
                    "model_name": each.model_name,
                    "objects": each.objects,
                    "ap": _rounded_or_none(each.ap),
                    "best_f1": None
                    if each.best is None
                    else dict(
                        zip(("score", "precision", "recall", "f1"), (round(v, 4) for v in each.best), strict=True)
                    ),
                }
                for each in self.classes
            ],
            "not_evaluated": self.match.missing,
            "not_in_data": list(self.match.unused),
        }

    def errors_dict(self) -> dict[str, Any]:
        """The error analysis as plain values."""
        shares = {name: class_shares(self.error_kinds, label) for label, name in enumerate(self.names)}
        return {
            "groups": {curve.name: group_dict(curve) for curve in self.groups},
            "classes": {
                name: None if each is None else {kind: round(value, 4) for kind, value in each.items()}
                for name, each in shares.items()
            },
            "sensitivity": {each.name: each.to_dict() for each in self.sensitivity},
            "confusion": {"classes": [*self.names, "(nothing)"], "counts": self.confusion.tolist()},
        }


def evaluate(
    truth: LabelledSet,
    detections: Sequence[Detections] | Detector,
    metric: Metric = "coco",
    *,
    model_classes: Sequence[str] | None = None,
) -> Evaluation:
    """Measure detections, one for each sample in order, or a detector under the metric's thresholds.

    metric: `voc07` (11 points, IoU 0.5), `voc` (area under the curve, IoU 0.5) or `coco` (mean over
    IoU 0.5 .. 0.95). Only classes that model and data share are measured, see `match_classes`;
    model_classes: the model's; default those of the first detections. Precision, recall and the error
    analysis are at IoU 0.5 for every metric.
    Raises InputError where there are no pictures, or no class is shared.
    """
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}: use {', '.join(METRICS)}")
    if not truth.samples:
        raise InputError("there are no pictures to evaluate on: choose another split")
    if isinstance(detections, Detector):
        model_classes = model_classes or detections.spec.classes
        detections = detect_all(detections, truth, metric)
    if model_classes is None:
        model_classes = detections[0].classes if detections else ()
    shared, found, match = align(truth, detections, model_classes)
    flat = flatten(shared, found)
    curves = voc_curves(flat)
    if metric == "coco":
        figures, by_class = coco_figures(shared, found)
        measured = bool(flat.counts.any())  # without objects nothing is right or wrong
        figures = {name: value if measured and value >= 0 else math.nan for name, value in figures.items()}
        values = [by_class[name] for name in shared.classes]
    else:
        values = [100 * curve.average_precision(metric == "voc07") for curve in curves]
        real = [value for value in values if not math.isnan(value)]
        figures = {"mAP": float(np.mean(real)) if real else float("nan")}
    results = tuple(
        ClassResult(name, partner, curve.objects, value, curve.best_f1())
        for (name, partner), curve, value in zip(match.pairs, curves, values, strict=True)
    )
    return Evaluation(metric, figures, results, match, len(truth.samples), flat, tuple(curves))


def _text(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _rounded_or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
