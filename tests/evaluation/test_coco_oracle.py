"""Our COCO figures against pycocotools' own code, on data made to be awkward."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import LabelledSet, Sample
from edgessd.evaluation.coco import coco_figures


def awkward(seed, pictures=40, classes=3):
    """Equal scores, equal overlaps, crowds, difficult objects, empty pictures and boxes, more than 100 detections."""
    rng = np.random.default_rng(seed)
    samples, found = [], []
    names = tuple("abcdefgh"[:classes])
    for number in rng.permutation(pictures) + 1:
        count = int(rng.integers(0, 12))
        low = rng.integers(0, 60, (count, 2)) * 2.0
        boxes = np.concatenate([low, low + rng.integers(0, 60, (count, 2)) * 2], axis=1).astype(np.float32)
        labels = rng.integers(0, classes, count)
        crowd, difficult = rng.random(count) < 0.15, rng.random(count) < 0.1
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * rng.choice([1.0, 0.7], count)
        samples.append(Sample(Path("x"), int(number), boxes, labels, difficult, crowd, area))
        many = int(rng.integers(0, 150)) if count else int(rng.integers(0, 4))
        which = rng.integers(0, max(1, count), many)
        base = boxes[which] if count else np.tile(np.float32([[1, 2, 30, 40]]), (many, 1))
        moved = base + rng.integers(-6, 7, (many, 4)).astype(np.float32) * (rng.random((many, 1)) < 0.7)
        moved[:, 2:] = np.maximum(moved[:, :2], moved[:, 2:])
        said = np.where(rng.random(many) < 0.8, labels[which] if count else 0, rng.integers(0, classes, many))
        scores = (rng.integers(0, 12, many) / 12).astype(np.float32)  # many are equal
        order = np.argsort(-scores, kind="stable")
        found.append(Detections(moved[order], scores[order], said[order], names, (200, 200)))
    return LabelledSet(tuple(samples), names, tuple(range(3, 3 + classes))), found


def reference(truth, detections):
    """pycocotools' figures, and its AP by class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for sample, found in zip(truth.samples, detections, strict=True):
        for box, label, left_out, area in zip(
            sample.boxes.tolist(), sample.labels, sample.crowd | sample.difficult, sample.area.tolist(), strict=True
        ):
            place = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": sample.image_id, "category_id": truth.category_ids[label],
                 "bbox": place, "area": area, "iscrowd": int(left_out)}
            )  # fmt: skip
        for box, label, score in zip(found.boxes.tolist(), found.labels, found.scores.tolist(), strict=True):
            place = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            category = truth.category_ids[label]
            results.append({"image_id": sample.image_id, "category_id": category, "bbox": place, "score": score})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": sample.image_id} for sample in truth.samples],
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for n, i in zip(truth.classes, truth.category_ids, strict=True)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    by_class = evaluation.eval["precision"][:, :, :, 0, -1].mean(axis=(0, 1))
    return 100 * evaluation.stats[:9], 100 * by_class


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools_on_awkward_data(seed):
    pytest.importorskip("pycocotools")
    truth, found = awkward(seed, classes=1 + seed % 4)
    expected, by_class = reference(truth, found)
    figures, ours = coco_figures(truth, found)
    assert list(figures.values()) == pytest.approx(list(expected), abs=1e-9)
    assert list(ours.values()) == pytest.approx(list(by_class), abs=1e-9)
    assert 1 < figures["AP"] < 99


def test_no_detections_and_no_objects():
    truth, found = awkward(0)
    nothing = [each[:0] for each in found]
    figures, by_class = coco_figures(truth, nothing)
    assert set(figures.values()) == {0.0}
    assert set(by_class.values()) == {0.0}
    none = np.zeros(0, bool)
    empty = tuple(Sample(s.image, s.image_id, s.boxes[:0], s.labels[:0], none, none, s.area[:0]) for s in truth.samples)
    figures, by_class = coco_figures(LabelledSet(empty, truth.classes, truth.category_ids), found)
    assert set(figures.values()) == {-100.0}
    assert all(np.isnan(value) for value in by_class.values())
