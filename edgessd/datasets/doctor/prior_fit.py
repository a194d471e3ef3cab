"""How well priors suit the objects of a data set, and priors made for it by k-means.

The clustering is that of YOLO9000 (Redmon & Farhadi 2017, section 2): shapes are near when their
IoU is high, so that small and large objects count alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgessd.datasets.types import LabelledSet
from edgessd.errors import InputError
from edgessd.ops.boxes import iou_matrix, to_xyxy
from edgessd.ops.preprocess import source_scale
from edgessd.ops.priors import explicit_priors, inside_mask, prior_boxes
from edgessd.spec import InputSpec, PriorLevel, PriorSpec

Floats = NDArray[np.float32]

MATCH = 0.5
"""IoU from which training matches a prior to an object (the paper, section 2.2)."""

_PAIRS = 4_000_000  # of the IoU table at a time: 64 MB
_ROUNDS = 2  # of choosing every place again
_QUALITY = 0.3  # what the mean IoU counts beside the share of objects at IoU 0.5
_ENOUGH = 10_000  # objects that the proposal looks at


@dataclass(frozen=True)
class PriorReport:
    """How the model's priors and proposed ones match N objects.

    current, proposed: [N] IoU of every object with its best prior. labels: [N]. boxes: [N, 4] xyxy in
    units of the input. proposal: the proposed priors.
    """

    boxes: Floats
    labels: NDArray[np.int64]
    current: Floats
    proposed: Floats
    proposal: PriorSpec

    def recall(self, overlaps: Floats) -> float:
        """Share of objects, 0..1, with a prior at IoU 0.5 or more."""
        return float((overlaps >= MATCH).mean()) if len(overlaps) else float("nan")


def fit_priors(
    data: LabelledSet, sizes: list[tuple[int, int] | None], tensor: InputSpec, priors: PriorSpec, seed: int = 0
) -> PriorReport:
    """Measure `priors` on a data set and propose others with as many boxes a cell.

    sizes: (width, height) of every picture; pictures with None are left out, and so are crowds and
    boxes without area. Raises InputError where no object is left.
    """
    boxes, labels = input_boxes(data, sizes, tensor)
    if not len(boxes):
        raise InputError("the data has no objects with an area: there is nothing to fit priors to")
    proposal = propose_priors(boxes, priors, seed)
    return PriorReport(boxes, labels, best_overlaps(boxes, priors), best_overlaps(boxes, proposal), proposal)


def input_boxes(
    data: LabelledSet, sizes: list[tuple[int, int] | None], tensor: InputSpec
) -> tuple[Floats, NDArray[np.int64]]:
    """Return all usable objects, cut to their pictures: boxes [N, 4] xyxy in units of the input, labels [N]."""
    boxes, labels = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)]
    for sample, size in zip(data.samples, sizes, strict=True):
        if size is None or not len(sample):
            continue
        limits = np.array([*size, *size], np.float32)
        inside = np.clip(sample.boxes, 0, limits)
        solid = (inside[:, 2] - inside[:, 0] > 1) & (inside[:, 3] - inside[:, 1] > 1) & ~sample.crowd
        scale = np.tile(np.array(source_scale(tensor, *size), np.float32), 2)
        boxes.append((inside / scale)[solid])
        labels.append(sample.labels[solid])
    return np.concatenate(boxes), np.concatenate(labels)


def best_overlaps(boxes: Floats, priors: PriorSpec) -> Floats:
    """Return [N]: the IoU of every box, [N, 4] xyxy in units of the input, with its best prior."""
    table = prior_boxes(priors)
    if priors.exclude_boundary:
        table = table[inside_mask(priors)]
    table = to_xyxy(table)
    best = np.zeros(len(boxes), np.float32)
    step = max(1, _PAIRS // max(1, len(table)))
    for start in range(0, len(boxes), step):
        best[start : start + step] = iou_matrix(boxes[start : start + step], table).max(axis=1, initial=0)
    return best


def propose_priors(boxes: Floats, priors: PriorSpec, seed: int = 0) -> PriorSpec:
    """Make priors for these objects, with the levels and the number of boxes a cell of `priors`.

    Shapes are clusters of the objects' shapes. Each place of each level then takes, one after the
    other and twice again, the shape that adds most: to the share of objects with an IoU of 0.5, and to
    the mean of all objects' best IoU. A shape may serve on several levels, where centres lie more or less densely.
    Within a level each shape stands where the one of `priors` that is most like it stood, so that a trained head's
    channels keep their meaning.
    boxes: [N, 4] xyxy in units of the input, N > 0.
    """
    rng = np.random.default_rng(seed)
    if len(boxes) > _ENOUGH:
        boxes = boxes[rng.choice(len(boxes), _ENOUGH, replace=False)]
    shapes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-4)
    slots = [len(level.boxes) for level in priors.levels]
    clusters = kmeans(shapes, min(max(slots) * len(slots), 48), rng)
    overlaps = np.stack([_level_overlaps(boxes, clusters, level) for level in priors.levels])
    chosen = _choose(overlaps, slots)
    lists = []
    for level, places in enumerate(chosen):
        shapes_here = sorted((clusters[place] for place in places), key=lambda shape: float(shape.prod()))
        # Fewer distinct shapes than places: the largest is repeated, so that the head keeps its channels.
        shapes_here += [shapes_here[-1]] * (slots[level] - len(shapes_here))
        ordered = _in_the_places_of(np.stack(shapes_here), np.array(priors.levels[level].boxes, np.float32))
        lists.append([(round(float(width), 4), round(float(height), 4)) for width, height in ordered])
    maps = [(level.rows, level.columns) for level in priors.levels]
    return explicit_priors(maps, lists, rule="kmeans")


def _in_the_places_of(shapes: Floats, old: Floats) -> Floats:
    """Order shapes [K, 2] like the old ones [K, 2]: the most alike pairs first, each used once."""
    table = _shape_iou(shapes, old)
    result = np.empty_like(shapes)
    for _ in range(len(shapes)):
        mine, place = np.unravel_index(int(np.argmax(table)), table.shape)
        result[place] = shapes[mine]
        table[mine], table[:, place] = -1, -1
    return result


def _choose(overlaps: Floats, slots: list[int]) -> list[list[int]]:
    """Choose the shapes of each level: greedily first, then each place again with the others fixed.

    overlaps: [L, K, N] IoU of shape K on level L with object N. slots: number of shapes of each level.
    """
    places = [level for level, count in enumerate(slots) for _ in range(min(count, overlaps.shape[1]))]
    taken: list[tuple[int, int]] = []
    for turn in range(len(places) * (1 + _ROUNDS)):
        if turn >= len(places):
            taken.pop(0)
        free = np.zeros(overlaps.shape[:2], bool)
        for level in range(len(slots)):
            free[level] = sum(mine == level for mine, _ in taken) < places.count(level)
        for level, shape in taken:
            free[level, shape] = False
        best = np.zeros(overlaps.shape[2], np.float32)
        for level, shape in taken:
            np.maximum(best, overlaps[level, shape], out=best)
        better = np.maximum(overlaps, best)
        gain = (better >= MATCH).mean(axis=2) + _QUALITY * better.mean(axis=2)
        taken.append(divmod(int(np.argmax(np.where(free, gain, -1))), overlaps.shape[1]))
    return [[shape for mine, shape in taken if mine == level] for level in range(len(slots))]


def kmeans(shapes: Floats, count: int, rng: np.random.Generator, rounds: int = 50) -> Floats:
    """Cluster (width, height) pairs [N, 2] by IoU; return at most `count` centres [K, 2], smallest first."""
    distinct = np.unique(shapes, axis=0)
    if len(distinct) <= count:
        return distinct[np.argsort(distinct.prod(axis=1), kind="stable")]
    centers = shapes[rng.integers(len(shapes))][None]
    nearest = 1 - _shape_iou(shapes, centers)[:, 0]
    while len(centers) < count:  # k-means++: far shapes are likelier to start a cluster
        weights = nearest.astype(np.float64) ** 2
        total = weights.sum()
        if total <= 0:
            break
        centers = np.concatenate([centers, shapes[rng.choice(len(shapes), p=weights / total)][None]])
        nearest = np.minimum(nearest, 1 - _shape_iou(shapes, centers[-1:])[:, 0])
    owner = np.full(len(shapes), -1)
    for _ in range(rounds):
        new = _shape_iou(shapes, centers).argmax(axis=1)
        if (new == owner).all():
            break
        owner = new
        members = np.bincount(owner, minlength=len(centers))
        sums = np.stack([np.bincount(owner, shapes[:, side], len(centers)) for side in (0, 1)], axis=1)
        full = members > 0
        centers[full] = (sums[full] / members[full, None]).astype(np.float32)
    result: Floats = centers[np.argsort(centers.prod(axis=1), kind="stable")]
    return result


def _shape_iou(first: Floats, second: Floats) -> Floats:
    """IoU [N, K] of shapes laid centre on centre."""
    common = np.minimum(first[:, None], second[None]).prod(axis=2)
    result: Floats = common / (first.prod(axis=1)[:, None] + second.prod(axis=1)[None] - common)
    return result


def _level_overlaps(boxes: Floats, shapes: Floats, level: PriorLevel) -> Floats:
    """IoU [K, N] of every shape, on the cell whose centre is nearest, with every box.

    For boxes of one shape the nearest centre is the best: the overlap falls with either distance.
    """
    step = np.array(level.step or (1 / level.columns, 1 / level.rows), np.float32)
    last = np.array([level.columns - 1, level.rows - 1], np.float32)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest = (np.clip(np.rint(center / step - 0.5), 0, last) + 0.5) * step
    low = np.maximum(boxes[None, :, :2], nearest[None] - shapes[:, None] / 2)
    high = np.minimum(boxes[None, :, 2:], nearest[None] + shapes[:, None] / 2)
    common = np.maximum(high - low, 0).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    result: Floats = common / (area[None] + shapes.prod(axis=1)[:, None] - common)
    return result
