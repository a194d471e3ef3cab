"""Priors (default boxes): the published rules that make them, and the table of all of them.

Every rule returns a `PriorSpec` with explicit (width, height) lists, so that nothing but
`prior_boxes` is needed to use it. `maps` is the (rows, columns) of each feature map, finest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Literal

import numpy as np

from edgessd._shapes import Bool, Bools, Float32, Floats
from edgessd.errors import OptionError
from edgessd.spec import PriorLevel, PriorSpec

Maps = Sequence[tuple[int, int]]
Boxes = Sequence[tuple[float, float]]

SSD300_MAPS = ((38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1))
SSD512_MAPS = ((64, 64), (32, 32), (16, 16), (8, 8), (4, 4), (2, 2), (1, 1))
SSD300_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
SSD512_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))

# Sizes in pixels of the input, and steps, from the authors' Caffe release (ssd_pascal.py, VOC).
CAFFE_SIZES = {
    300: (30, 60, 111, 162, 213, 264, 315),
    512: (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
}
CAFFE_STEPS = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}


@lru_cache(maxsize=16)
def prior_boxes(spec: PriorSpec) -> Float32[Floats, "{spec.count} 4"]:
    """Return all priors, [P, 4] float32 (cx, cy, w, h) in units of the input; read-only and cached."""
    tables = []
    for level in spec.levels:
        step_x, step_y = level.step or (1 / level.columns, 1 / level.rows)
        table = np.empty((level.rows, level.columns, len(level.boxes), 4), np.float64)
        table[..., 0] = ((np.arange(level.columns) + 0.5) * step_x)[None, :, None]
        table[..., 1] = ((np.arange(level.rows) + 0.5) * step_y)[:, None, None]
        table[..., 2:] = np.asarray(level.boxes)
        tables.append(table.reshape(-1, 4))
    priors = np.concatenate(tables)
    if spec.clip:
        low = np.clip(priors[:, :2] - priors[:, 2:] / 2, 0, 1)
        high = np.minimum(priors[:, :2] + priors[:, 2:] / 2, 1)
        priors = np.concatenate([(low + high) / 2, high - low], axis=1)
    result = priors.astype(np.float32)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=16)
def inside_mask(spec: PriorSpec) -> Bool[Bools, " {spec.count}"]:
    """Return [P] bool: which priors lie wholly inside the picture (before any clipping)."""
    table = prior_boxes(PriorSpec(levels=spec.levels)).astype(np.float64)
    margin = 1e-6
    low, high = table[:, :2] - table[:, 2:] / 2, table[:, :2] + table[:, 2:] / 2
    mask: Bools = np.logical_and((low >= -margin).all(axis=1), (high <= 1 + margin).all(axis=1))
    mask.setflags(write=False)
    return mask


def kept_count(spec: PriorSpec) -> int:
    """Return how many priors take part: all, or those inside the picture where the spec excludes the others."""
    return int(inside_mask(spec).sum()) if spec.exclude_boundary else spec.count


def linear_scales(levels: int, smallest: float = 0.2, largest: float = 0.9) -> list[float]:
    """Return s_1 ... s_m and s_{m+1} of the paper's equation 4, evenly spaced; 1 step past `largest` at the end."""
    step = (largest - smallest) / (levels - 1) if levels > 1 else 0.0
    return [smallest + step * k for k in range(levels + 1)]


def cell_boxes(scale: float, next_scale: float | None, ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Return the (width, height) list of one cell: ratio 1, sqrt(s_k s_{k+1}), then r and 1/r for each ratio.

    Width s * sqrt(r), height s / sqrt(r): section 2.2 of the paper. Without a next scale there is no box between.
    """
    boxes = [(scale, scale)]
    if next_scale is not None:
        between = math.sqrt(scale * next_scale)
        boxes.append((between, between))
    for ratio in ratios:
        root = math.sqrt(ratio)
        boxes += [(scale * root, scale / root), (scale / root, scale * root)]
    return boxes


def _spec(
    rule: Literal["paper", "caffe", "torchvision", "tensorflow", "multibox", "kmeans", "explicit"],
    maps: Maps,
    boxes: Sequence[Boxes],
    steps: Sequence[tuple[float, float] | None] | None = None,
    clip: bool = False,
    exclude_boundary: bool = False,
) -> PriorSpec:
    if len(maps) != len(boxes):
        raise OptionError(f"{len(boxes)} lists of prior boxes for {len(maps)} feature maps: give one for each")
    levels = tuple(
        PriorLevel(rows=rows, columns=columns, boxes=tuple((float(w), float(h)) for w, h in cell), step=step)
        for (rows, columns), cell, step in zip(maps, boxes, steps or [None] * len(maps), strict=True)
    )
    return PriorSpec(levels=levels, rule=rule, clip=clip, exclude_boundary=exclude_boundary)


def paper_priors(
    maps: Maps = SSD300_MAPS,
    ratios: Sequence[Sequence[float]] = SSD300_RATIOS,
    *,
    smallest: float = 0.2,
    largest: float = 0.9,
    first: float | None = 0.1,
    clip: bool = False,
    exclude_boundary: bool = False,
) -> PriorSpec:
    """Priors by the paper's formula: scales evenly from `smallest` to `largest`, then `first` for level 1.

    `first` is conv4_3's 0.1 of section 3.1 (None keeps `smallest`): 0.1, 0.34, 0.48, ... 0.90.
    """
    scales = linear_scales(len(maps), smallest, largest)
    if first is not None:
        scales[0] = first
    _one_for_each("ratios", ratios, maps)
    boxes = [cell_boxes(scales[k], scales[k + 1], ratios[k]) for k in range(len(maps))]
    return _spec("paper", maps, boxes, clip=clip, exclude_boundary=exclude_boundary)


def caffe_priors(size: int = 300, *, clip: bool = False, exclude_boundary: bool = False) -> PriorSpec:
    """Priors of the authors' Caffe release for VOC, input 300 (8,732) or 512 (24,564), with its steps."""
    if size not in CAFFE_SIZES:
        raise OptionError(f"the Caffe release has priors for input 300 and 512, not {size}: use rule 'paper'")
    maps, ratios = (SSD300_MAPS, SSD300_RATIOS) if size == 300 else (SSD512_MAPS, SSD512_RATIOS)
    sizes = [pixels / size for pixels in CAFFE_SIZES[size]]
    boxes = [cell_boxes(sizes[k], sizes[k + 1], ratios[k]) for k in range(len(maps))]
    steps = [(step / size, step / size) for step in CAFFE_STEPS[size]]
    return _spec("caffe", maps, boxes, steps, clip, exclude_boundary)


def torchvision_priors(
    maps: Maps,
    ratios: Sequence[Sequence[float]],
    *,
    scales: Sequence[float] | None = None,
    min_ratio: float = 0.15,
    max_ratio: float = 0.9,
    steps: Sequence[tuple[float, float]] | None = None,
    clip: bool = True,
) -> PriorSpec:
    """Priors as torchvision's `DefaultBoxGenerator` makes them.

    scales: one per level and one more; None takes min_ratio ... max_ratio evenly and 1.0 after them.
    steps: (x, y) in units of the input. `clip` cuts widths and heights (not corners) to 1, as there.
    """
    if scales is None:
        scales = [*linear_scales(len(maps), min_ratio, max_ratio)[:-1], 1.0]
    if len(scales) != len(maps) + 1:
        raise OptionError(f"torchvision's rule needs {len(maps) + 1} scales for {len(maps)} levels, not {len(scales)}")
    _one_for_each("ratios", ratios, maps)
    boxes = []
    for k in range(len(maps)):
        cell = cell_boxes(scales[k], scales[k + 1], ratios[k])
        boxes.append([(min(w, 1.0), min(h, 1.0)) for w, h in cell] if clip else cell)
    return _spec("torchvision", maps, boxes, steps)


def tensorflow_priors(maps: Maps, *, min_scale: float = 0.2, max_scale: float = 0.95) -> PriorSpec:
    """Priors of the TensorFlow Object Detection API's `ssd_anchor_generator` with its defaults for SSDLite.

    Three boxes on the first level (scale 0.1 ratio 1, then s_1 with 2 and 1/2), six on the others
    (ratios 1, 2, 1/2, 3, 1/3 at s_k, then ratio 1 at sqrt(s_k s_{k+1}), s_{m+1} = 1).
    """
    scales = [*linear_scales(len(maps), min_scale, max_scale)[:-1], 1.0]
    first = [(0.1, 0.1), *cell_boxes(scales[0], None, [2.0])[1:]]
    boxes: list[Boxes] = [first]
    for k in range(1, len(maps)):
        between = math.sqrt(scales[k] * scales[k + 1])
        boxes.append([*cell_boxes(scales[k], None, [2.0, 3.0]), (between, between)])
    return _spec("tensorflow", maps, boxes)


def explicit_priors(
    maps: Maps,
    boxes: Sequence[Boxes],
    *,
    rule: Literal["explicit", "kmeans"] = "explicit",
    clip: bool = False,
    exclude_boundary: bool = False,
) -> PriorSpec:
    """Priors from one (width, height) list per level, in units of the input."""
    return _spec(rule, maps, boxes, clip=clip, exclude_boundary=exclude_boundary)


def multibox_priors() -> PriorSpec:
    """MultiBox's 1,420 priors: 11 a cell on 8x8, 6x6, 4x4, 3x3 and 2x2 maps, one of the whole picture.

    The count and the maps are published (Szegedy et al. 2014, "Scalable, High Quality Object
    Detection", section 3.2); the shapes came from clustering there and were not published, so
    here they are five sizes of ratio 1 and three each of 2 and 1/2 around the cell's own.
    """
    maps = [(side, side) for side in (8, 6, 4, 3, 2, 1)]
    boxes: list[Boxes] = []
    for side, _ in maps[:-1]:
        cell = 1 / side
        squares = [cell * 2 ** (k / 2) for k in range(5)]
        cells = [(size, size) for size in squares]
        for size in squares[1:4]:
            cells += cell_boxes(size, None, [2.0])[1:]
        boxes.append(cells)
    boxes.append([(1.0, 1.0)])
    return _spec("multibox", maps, boxes)


# The paper's table 3: which levels of SSD300 predict, and how many boxes a cell has there. The
# paper gives the totals only; these are counts that meet them exactly.
LAYER_ABLATION = {
    1: ((1,), (24,)),
    2: ((0, 1), (4, 9)),
    3: ((0, 1, 2), (4, 8, 12)),
    4: ((0, 1, 2, 3), (4, 6, 8, 8)),
    5: ((0, 1, 2, 3, 4), (4, 6, 6, 6, 8)),
    6: ((0, 1, 2, 3, 4, 5), (4, 6, 6, 6, 4, 4)),
}
RATIO_ABLATION: dict[str, tuple[float, ...]] = {"1": (), "1,2": (2.0,), "1,2,3": (2.0, 3.0)}


def layer_ablation_priors(layers: int, *, exclude_boundary: bool = False) -> PriorSpec:
    """Priors of SSD300 with 1 to 6 prediction layers: 8,664 / 9,025 / 9,864 / 8,942 / 8,764 / 8,732.

    Removed levels' scales are stacked on the remaining ones, "to keep the total number of boxes
    similar" (section 3.2): a cell first has its own boxes, then those of larger scales.
    """
    if layers not in LAYER_ABLATION:
        raise OptionError(f"the paper's ablation has 1 to 6 prediction layers, not {layers}")
    indices, counts = LAYER_ABLATION[layers]
    scales = linear_scales(6)
    scales[0] = 0.1
    boxes = []
    for index, count in zip(indices, counts, strict=True):
        cell: list[tuple[float, float]] = []
        for k in range(index, 6):
            cell += cell_boxes(scales[k], scales[k + 1], SSD300_RATIOS[index])
        boxes.append(cell[:count])
    maps = [SSD300_MAPS[index] for index in indices]
    return _spec("paper", maps, boxes, exclude_boundary=exclude_boundary)


def ratio_ablation_priors(ratios: str) -> PriorSpec:
    """Priors of SSD300 with the aspect ratios '1', '1,2' or '1,2,3': 3,880 / 7,760 / 8,732."""
    if ratios not in RATIO_ABLATION:
        raise OptionError(f"the paper's aspect-ratio sets are '1', '1,2' and '1,2,3', not {ratios!r}")
    most = RATIO_ABLATION[ratios]
    return paper_priors(SSD300_MAPS, [[ratio for ratio in level if ratio in most] for level in SSD300_RATIOS])


def _one_for_each(what: str, values: Sequence[object], maps: Maps) -> None:
    if len(values) != len(maps):
        raise OptionError(f"{len(values)} {what} for {len(maps)} feature maps: give one for each")


# Published tables by name, with the input side in pixels: what `edgessd info --priors --rule NAME` shows.
PUBLISHED: dict[str, tuple[int, Callable[[], PriorSpec]]] = {
    "ssd300-paper": (300, paper_priors),
    "ssd300-caffe": (300, caffe_priors),
    "ssd512-caffe": (512, lambda: caffe_priors(512)),
    "ssd300-inside": (300, lambda: paper_priors(exclude_boundary=True)),
    "multibox": (299, multibox_priors),
    "ssdlite300-tensorflow": (300, lambda: tensorflow_priors([(side, side) for side in (19, 10, 5, 3, 2, 1)])),
    **{f"layers-{n}": (300, partial(layer_ablation_priors, n)) for n in LAYER_ABLATION},
    **{f"ratios-{key}": (300, partial(ratio_ablation_priors, key)) for key in RATIO_ABLATION},
}
