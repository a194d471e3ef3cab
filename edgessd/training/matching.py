"""Which prior answers for which object (Liu et al. 2016, section 2.2, "Matching strategy").

B batch, P priors, G objects of the fullest picture of the batch, N valid objects of the whole batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgessd._shapes import Bool, Float, Int64

BACKGROUND = -1
IGNORED = -2


@torch.no_grad()
def match(
    priors: Float[Tensor, "p 4"],
    boxes: Float[Tensor, "b g 4"],
    valid: Bool[Tensor, "b g"],
    iou_threshold: float | None = 0.5,
    *,
    ignore: Bool[Tensor, "b g"] | None = None,
    crowd: Bool[Tensor, "b g"] | None = None,
    active: Bool[Tensor, " p"] | None = None,
) -> Int64[Tensor, "b p"]:
    """Return [B, P] int64: the object that each prior answers for, or BACKGROUND, or IGNORED.

    priors: [P, 4] (cx, cy, w, h). boxes: [B, G, 4] xyxy in the same units, padded to G; valid: [B, G] bool.
    iou_threshold: a prior whose best object overlaps it by at least this much answers for that object. Besides,
        every object keeps the prior that overlaps it best, whatever the overlap; where two objects want the
        same prior the later one has it. Both are torchvision's `SSDMatcher` to the bit. None keeps the best
        priors alone: MultiBox's bipartite matching.
    ignore: [B, G] bool, objects that are not learnt (VOC's difficult): priors over the threshold with one of them
        are IGNORED, unless they answer for another object.
    crowd: [B, G] bool, regions with uncounted objects (COCO's iscrowd): the same for priors of which
        that share lies inside the region.
    active: [P] bool, priors that take part; the others are IGNORED (the paper's boundary boxes).

    Degenerate boxes (no area, not finite) and boxes that no active prior overlaps at all match nothing. The work
    grows with N, not with the padding: no loop over pictures.
    """
    batch, count = boxes.shape[0], len(priors)
    matched = torch.full((batch, count), BACKGROUND, dtype=torch.int64, device=boxes.device)
    columns = None if active is None or bool(active.all()) else active.nonzero()[:, 0]
    kept = priors if columns is None else priors[columns]
    solid = valid & torch.isfinite(boxes).all(dim=2) & (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
    skipped = torch.zeros_like(valid)
    for flags in (ignore, crowd):
        skipped = skipped if flags is None else skipped | flags
    if len(kept):
        if ignore is not None:
            _mark_ignored(matched, kept, columns, boxes, solid & ignore, iou_threshold, of_prior=False)
        if crowd is not None:
            _mark_ignored(matched, kept, columns, boxes, solid & crowd, iou_threshold, of_prior=True)
        _assign(matched, kept, columns, boxes, solid & ~skipped, iou_threshold)
    if active is not None:
        matched[:, ~active] = IGNORED
    return matched


def _assign(
    matched: Int64[Tensor, "b p"],
    priors: Float[Tensor, "active 4"],
    columns: Int64[Tensor, " active"] | None,
    boxes: Float[Tensor, "b g 4"],
    chosen: Bool[Tensor, "b g"],
    threshold: float | None,
) -> None:
    image, slot = chosen.nonzero(as_tuple=True)
    if not len(image):
        return
    overlaps = _overlaps(boxes[image, slot], priors)
    flat = matched.view(-1)
    if threshold is not None:
        # Few pairs pass the threshold, so the best object of a prior is looked for among them only. They come in the
        # order of the objects: of two that overlap a prior equally the earlier one is found.
        row, column = _reaching(overlaps, threshold)
        target = image[row] * matched.shape[1] + (column if columns is None else columns[column])
        order = overlaps[row, column].argsort(descending=True, stable=True)
        chosen = _first_of_each(target, order)
        flat[target[chosen]] = slot[row[chosen]]
    value, column = _best(overlaps)
    reached = value > 0
    target = (image * matched.shape[1] + (column if columns is None else columns[column]))[reached]
    # The later one where two want the same prior.
    chosen = _first_of_each(target, torch.arange(len(target) - 1, -1, -1, device=target.device))
    flat[target[chosen]] = slot[reached][chosen]


def _first_of_each(values: Int64[Tensor, " n"], order: Int64[Tensor, " n"]) -> Int64[Tensor, " different"]:
    """Positions of the different numbers in `values` [N]: of each the one that `order` names first."""
    order = order[values[order].argsort(stable=True)]
    ordered = values[order]
    new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=new[1:])
    return order[new]


def _reaching(
    overlaps: Float[Tensor, "n p"], threshold: float
) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """Rows and columns of the pairs with at least that overlap, in their order."""
    reached = overlaps >= threshold
    if not _plain_cpu(overlaps):
        row, column = reached.nonzero(as_tuple=True)
        return row, column
    places = torch.from_numpy(np.flatnonzero(reached.numpy()))  # several times faster than torch's
    return places // overlaps.shape[1], places % overlaps.shape[1]


def _best(overlaps: Float[Tensor, "n p"]) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """Largest overlap of each row and its (first) column."""
    if not _plain_cpu(overlaps):
        value, column = overlaps.max(dim=1)
        return value, column
    column = torch.from_numpy(overlaps.numpy().argmax(axis=1))  # several times faster than torch's
    return overlaps.gather(1, column[:, None])[:, 0], column


def _plain_cpu(values: Tensor) -> bool:
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


def _mark_ignored(
    matched: Int64[Tensor, "b p"],
    priors: Float[Tensor, "active 4"],
    columns: Int64[Tensor, " active"] | None,
    boxes: Float[Tensor, "b g 4"],
    chosen: Bool[Tensor, "b g"],
    threshold: float | None,
    *,
    of_prior: bool,
) -> None:
    image, slot = chosen.nonzero(as_tuple=True)
    if not len(image):
        return
    overlaps = _overlaps(boxes[image, slot], priors, of_prior=of_prior)
    row, column = _reaching(overlaps, 0.5 if threshold is None else threshold)
    matched[image[row], column if columns is None else columns[column]] = IGNORED


# Priors that are looked at together, so that the tables of IoU's steps stay in the processor's cache.
_BLOCK = 1024


def _overlaps(
    boxes: Float[Tensor, "n 4"], priors: Float[Tensor, "p 4"], *, of_prior: bool = False
) -> Float[Tensor, "n p"]:
    """[N, P]: IoU, in the order of operations of torchvision's `box_iou`; or the share of the prior inside the box."""
    # One contiguous row for each coordinate: columns of a [P, 4] table are three times slower to read.
    low = (priors[:, :2] - 0.5 * priors[:, 2:]).T.contiguous()
    high = (priors[:, :2] + 0.5 * priors[:, 2:]).T.contiguous()
    areas = (high[0] - low[0]) * (high[1] - low[1])
    x1, y1, x2, y2 = boxes.float()[:, :, None].unbind(dim=1)
    own = (x2 - x1) * (y2 - y1)
    result = areas.new_empty(len(boxes), len(priors))
    # A GPU has the room to do it at once.
    step = max(1, len(priors) if boxes.device.type != "cpu" else min(_BLOCK, len(priors)))
    space = areas.new_empty(2, len(boxes), step)
    for start in range(0, len(priors), step):
        part = slice(start, start + step)
        common = result[:, part]
        width, other = space[:, :, : common.shape[1]]
        torch.minimum(x2, high[0, part], out=width).sub_(torch.maximum(x1, low[0, part], out=other)).clamp_(min=0)
        torch.minimum(y2, high[1, part], out=common).sub_(torch.maximum(y1, low[1, part], out=other)).clamp_(min=0)
        common.mul_(width)
        if of_prior:
            common.div_(areas[part].clamp(min=torch.finfo(areas.dtype).tiny))
        else:
            common.div_(torch.add(own, areas[part], out=other).sub_(common))
    return result
