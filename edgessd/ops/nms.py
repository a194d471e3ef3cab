"""Non-maximum suppression, class by class, in one pass."""

from __future__ import annotations

import numpy as np

from edgessd._shapes import Bool, Bools, Float32, Floats, Int64, Ints
from edgessd.ops.boxes import iou_matrix

# Candidates are looked at in blocks of this many, best first, so that the IoU table stays small
# (64 KB) and the work ends as soon as enough boxes are kept.
BLOCK = 128


def class_wise_nms(
    boxes: Float32[Floats, "n 4"],
    labels: Int64[Ints, " n"],
    iou_threshold: float,
    max_detections: int,
) -> Int64[Ints, " kept"]:
    """Return the indices of the boxes kept, best first, at most `max_detections`.

    boxes [N, 4] xyxy and labels [N] must be sorted by falling score. A box is dropped when its IoU
    with a kept box of the same label is above `iou_threshold` (equal is kept). Classes are told
    apart by label, not by shifting the boxes: shifted float32 coordinates lose the last digits.
    """
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        if len(kept):
            same = labels[kept][:, None] == labels[block][None, :]
            block = block[~((iou_matrix(boxes[kept], boxes[block]) > iou_threshold) & same).any(axis=0)]
        same = labels[block][:, None] == labels[block][None, :]
        suppresses = np.triu((iou_matrix(boxes[block], boxes[block]) > iou_threshold) & same, k=1)
        alive = np.ones(len(block), bool)
        for row in np.flatnonzero(suppresses.any(axis=1)):
            if alive[row]:
                alive &= ~suppresses[row]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= max_detections:
            break
    return kept[:max_detections]


def best_of_each_class(labels: Int64[Ints, " n"], count: int) -> Bool[Bools, " n"]:
    """Return [N] bool: the first `count` of each label, for labels sorted by falling score."""
    if len(labels) <= count:
        return np.ones(len(labels), bool)
    grouped = np.argsort(labels, kind="stable")
    ordered = labels[grouped]
    rank = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    keep = np.empty(len(labels), bool)
    keep[grouped] = rank < count
    return keep
