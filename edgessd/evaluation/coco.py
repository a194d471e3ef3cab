"""COCO's average precision, by faster-coco-eval (the C++ twin of pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgessd.datasets import LabelledSet
from edgessd.errors import missing_extra
from edgessd.results import Detections

NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")


def coco_ap(truth: LabelledSet, detections: Sequence[Detections]) -> dict[str, float]:
    """Return COCO's figures, in percent: AP, AP50, AP75, AP by size, AR at 1, 10 and 100 boxes.

    detections: one for each sample, in order; their classes are matched by name, and those that
    `truth` does not have are left out.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise missing_extra("faster-coco-eval", "train") from None
    ids = dict(zip(truth.classes, truth.category_ids, strict=True))
    results: list[dict[str, Any]] = []
    for sample, found in zip(truth.samples, detections, strict=True):
        known = found[np.array([name in ids for name in found.names], bool)]
        results += known.to_coco(sample.image_id, [ids.get(name, -1) for name in known.classes])
    if not results:
        return dict.fromkeys(NAMES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(_document(truth))
        evaluation = COCOeval_faster(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * float(value) for name, value in zip(NAMES, evaluation.stats, strict=False)}


def _document(truth: LabelledSet) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for sample in truth.samples:
        for (x1, y1, x2, y2), label, crowd, area in zip(
            sample.boxes.tolist(), sample.labels.tolist(), sample.crowd.tolist(), sample.area.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": truth.category_ids[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [{"id": sample.image_id} for sample in truth.samples],
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for n, i in zip(truth.classes, truth.category_ids, strict=True)],
    }
