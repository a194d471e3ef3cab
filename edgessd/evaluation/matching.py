"""All detections and all objects of a data set as flat arrays, and their pairs: no Python loop over images.

Letters: D detections, G objects, N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.datasets import LabelledSet
from edgessd.results import Detections

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_PAIRS = 4_000_000  # that are held at a time


@dataclass(frozen=True)
class Flat:
    """Detections, best score first over all pictures (equal scores in the order of pictures), and objects.

    image, object_image: row of the sample. boxes are xyxy in pixels, float64. ignored: objects that
    count neither as found nor as missed: difficult ones and crowds.
    """

    image: Ints
    label: Ints
    score: Floats
    box: Floats
    object_image: Ints
    object_label: Ints
    object_box: Floats
    ignored: Flags
    num_classes: int

    @property
    def counts(self) -> Ints:
        """[C] number of objects of each class, ignored ones not counted."""
        return np.bincount(self.object_label[~self.ignored], minlength=self.num_classes)


def flatten(truth: LabelledSet, detections: Sequence[Detections]) -> Flat:
    """Put everything into flat arrays; labels of truth and detections must mean the same (see `align`)."""
    pairs = list(zip(truth.samples, detections, strict=True))
    image = np.repeat(np.arange(len(pairs)), [len(found) for _, found in pairs])
    score = _join([found.scores for _, found in pairs], np.float64)
    order = np.argsort(-score, kind="stable")
    ignored = _join([sample.difficult | sample.crowd for sample, _ in pairs], bool)
    return Flat(
        image=image[order],
        label=_join([found.labels for _, found in pairs], np.int64)[order],
        score=score[order],
        box=_join([found.boxes for _, found in pairs], np.float64, 4)[order],
        object_image=np.repeat(np.arange(len(pairs)), [len(sample) for sample, _ in pairs]),
        object_label=_join([sample.labels for sample, _ in pairs], np.int64),
        object_box=_join([sample.boxes for sample, _ in pairs], np.float64, 4),
        ignored=ignored.astype(bool),
        num_classes=len(truth.classes),
    )


def best_object(flat: Flat, *, same_class: bool = True, allowed: Flags | None = None) -> tuple[Floats, Ints]:
    """Return, for each detection, the highest IoU with an object of its picture, and which object: [D], [D].

    same_class: only objects of the detection's class; otherwise only those of other classes.
    allowed: [C, C] bool, instead of `same_class`: which classes of objects (columns) may answer to
    a detection's class (rows). IoU 0 and -1 where there is none. Equal overlaps: the first object.
    """
    count = len(flat.label)
    best, which = np.zeros(count), np.full(count, -1)
    if not count or not len(flat.object_label):
        return best, which
    by_class = same_class and allowed is None
    key, object_key = flat.image, flat.object_image
    if by_class:
        key, object_key = key * flat.num_classes + flat.label, object_key * flat.num_classes + flat.object_label
    order = np.argsort(object_key, kind="stable")
    # Where the objects of each key start in `order`: a table, because a search for each detection is slower.
    edges = np.zeros(int(max(key.max(), object_key.max())) + 2, np.int64)
    np.cumsum(np.bincount(object_key, minlength=len(edges) - 1), out=edges[1:])
    low, high = edges[key], edges[key + 1]
    candidates = np.flatnonzero(high > low)
    # Blocks of detections whose pairs fit into memory together.
    ends = np.cumsum((high - low)[candidates])
    start = 0
    while start < len(candidates):
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + _PAIRS, "right")))
        rows = candidates[start:stop]
        _best_of(flat, rows, low[rows], high[rows], order, by_class, allowed, best, which)
        start = stop
    return best, which


def _best_of(
    flat: Flat,
    rows: Ints,
    low: Ints,
    high: Ints,
    order: Ints,
    by_class: bool,
    allowed: Flags | None,
    best: Floats,
    which: Ints,
) -> None:
    """Fill `best` and `which` for these detections; the objects of row r are order[low[r]:high[r]]."""
    sizes = high - low
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    detection = np.repeat(rows, sizes)
    target = order[np.arange(sizes.sum()) - np.repeat(starts - low, sizes)]
    overlap = pair_iou(flat.box[detection], flat.object_box[target])
    if allowed is not None:
        overlap *= allowed[flat.label[detection], flat.object_label[target]]
    elif not by_class:
        overlap *= flat.label[detection] != flat.object_label[target]
    highest = np.maximum.reduceat(overlap, starts)
    # The first pair of each detection that reaches its maximum.
    reached = np.flatnonzero(overlap == np.repeat(highest, sizes))
    first = reached[np.searchsorted(reached, starts)]
    real = highest > 0
    best[rows[real]] = highest[real]
    which[rows[real]] = target[first[real]]


def pair_iou(first: Floats, second: Floats) -> Floats:
    """IoU [N] of pairs of boxes [N, 4] xyxy; 0 where both are empty or one is inverted."""
    wide = np.minimum(first[:, 2], second[:, 2]) - np.maximum(first[:, 0], second[:, 0])
    tall = np.minimum(first[:, 3], second[:, 3]) - np.maximum(first[:, 1], second[:, 1])
    common = np.maximum(wide, 0) * np.maximum(tall, 0)
    union = box_area(first) + box_area(second) - common
    result: Floats = common / np.maximum(union, np.finfo(np.float64).tiny)
    return result


def box_area(boxes: Floats) -> Floats:
    """Areas [N] of boxes [N, 4] xyxy; 0 for inverted ones."""
    result: Floats = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return result


def first_claims(hit: Flags, which: Ints) -> Flags:
    """[D] bool: of the detections that hit an object, sorted by falling score, those that hit it first."""
    result = np.zeros(len(hit), bool)
    rows = np.flatnonzero(hit)
    _, first = np.unique(which[rows], return_index=True)
    result[rows[first]] = True
    return result


def _join(parts: Sequence[NDArray[Any]], dtype: type, columns: int | None = None) -> NDArray[Any]:
    shape = (0,) if columns is None else (0, columns)
    return np.concatenate([np.zeros(shape, dtype), *parts])
