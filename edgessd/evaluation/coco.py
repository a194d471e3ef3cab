"""COCO's average precision, by faster-coco-eval (the C++ twin of pycocotools)."""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgessd.datasets import LabelledSet
from edgessd.errors import missing_extra
from edgessd.evaluation.classes import under_classes
from edgessd.results import Detections

NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")


def coco_ap(truth: LabelledSet, detections: Sequence[Detections]) -> dict[str, float]:
    """Return COCO's figures, in percent: AP, AP50, AP75, AP by size, AR at 1, 10 and 100 boxes.

    detections: one for each sample, in order; their classes are matched as `ClassMap` does, and
    those that `truth` does not have are left out. A figure without objects (AP_small without small ones) is -100.
    """
    return coco_figures(truth, detections)[0]


def coco_figures(truth: LabelledSet, detections: Sequence[Detections]) -> tuple[dict[str, float], dict[str, float]]:
    """Return COCO's figures, as `coco_ap` does, and the AP of each class by name; in percent, NaN without objects.

    Difficult objects are treated as crowds: found or not, they do not count.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise missing_extra("faster-coco-eval", "eval") from None
    results = _results(truth, detections)
    counts = np.bincount(
        np.concatenate([np.zeros(0, np.int64), *(s.labels[~(s.difficult | s.crowd)] for s in truth.samples)]),
        minlength=len(truth.classes),
    )
    if not results:
        nothing = {name: 0.0 if count else float("nan") for name, count in zip(truth.classes, counts, strict=True)}
        return dict.fromkeys(NAMES, 0.0), nothing
    with contextlib.redirect_stdout(io.StringIO()), _no_collection():
        reference = COCO(_document(truth))
        evaluation = COCOeval_faster(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: 100 * float(value) for name, value in zip(NAMES, evaluation.stats, strict=False)}
    # [threshold, recall, class, size, boxes]: all thresholds and recalls, all sizes, 100 boxes; -1 without objects.
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    order = {int(category): place for place, category in enumerate(evaluation.params.catIds)}
    by_class = {
        name: 100 * float(precision[:, :, order[number]].mean()) if count else float("nan")
        for number, (name, count) in enumerate(zip(truth.classes, counts, strict=True), 1)
    }
    return figures, by_class


def _results(truth: LabelledSet, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """All detections of known classes as COCO's result entries."""
    results: list[dict[str, Any]] = []
    with _no_collection():
        for sample, found in zip(truth.samples, under_classes(detections, truth.classes), strict=True):
            boxes = found.boxes.astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            results += [
                {"image_id": sample.image_id, "category_id": label + 1, "bbox": box, "score": score}
                for label, box, score in zip(found.labels.tolist(), boxes.tolist(), found.scores.tolist(), strict=True)
            ]
    return results


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Pause Python's search for reference cycles: among millions of small dicts it takes longer than the evaluation."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _document(truth: LabelledSet) -> dict[str, Any]:
    """The truth as a COCO document of its own, in which the category id is label + 1 whatever the source's is."""
    annotations: list[dict[str, Any]] = []
    for sample in truth.samples:
        left_out = (sample.crowd | sample.difficult).tolist()
        for (x1, y1, x2, y2), label, crowd, area in zip(
            sample.boxes.tolist(), sample.labels.tolist(), left_out, sample.area.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [{"id": sample.image_id} for sample in truth.samples],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(truth.classes, 1)],
    }
