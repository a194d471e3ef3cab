"""Which prior answers for which object (Liu et al. 2016, section 2.2, "Matching strategy").

B batch, P priors, G objects of the fullest picture of the batch, N valid objects of the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

BACKGROUND = -1
IGNORED = -2


@torch.no_grad()
def match(
    priors: Tensor,
    boxes: Tensor,
    valid: Tensor,
    iou_threshold: float | None = 0.5,
    *,
    ignore: Tensor | None = None,
    crowd: Tensor | None = None,
    active: Tensor | None = None,
) -> Tensor:
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
    matched: Tensor, priors: Tensor, columns: Tensor | None, boxes: Tensor, chosen: Tensor, threshold: float | None
) -> None:
    image, slot = chosen.nonzero(as_tuple=True)
    if not len(image):
        return
    overlaps = _overlaps(boxes[image, slot], priors)
    if threshold is not None:
        # Few pairs pass the threshold, so the best object of a prior is looked for among them only.
        row, column = (overlaps >= threshold).nonzero(as_tuple=True)
        values = overlaps[row, column]
        target = image[row] * matched.shape[1] + (column if columns is None else columns[column])
        best = torch.zeros(matched.numel(), dtype=values.dtype, device=values.device)
        best.scatter_reduce_(0, target, values, "amax")
        winner = values == best[target]
        first = torch.full((matched.numel(),), boxes.shape[1], dtype=torch.int64, device=matched.device)
        first.scatter_reduce_(0, target[winner], slot[row[winner]], "amin")  # the earlier one where two are equal
        positive = target[winner]
        matched.view(-1)[positive] = first[positive]
    value, column = overlaps.max(dim=1)
    reached = value > 0
    target = (image * matched.shape[1] + (column if columns is None else columns[column]))[reached]
    forced = torch.full((matched.numel(),), -1, dtype=torch.int64, device=matched.device)
    forced.scatter_reduce_(0, target, slot[reached], "amax")  # the later one where two want the same prior
    matched.view(-1)[target] = forced[target]


def _mark_ignored(
    matched: Tensor,
    priors: Tensor,
    columns: Tensor | None,
    boxes: Tensor,
    chosen: Tensor,
    threshold: float | None,
    *,
    of_prior: bool,
) -> None:
    image, slot = chosen.nonzero(as_tuple=True)
    if not len(image):
        return
    overlaps = _overlaps(boxes[image, slot], priors, of_prior=of_prior)
    row, column = (overlaps >= (0.5 if threshold is None else threshold)).nonzero(as_tuple=True)
    matched[image[row], column if columns is None else columns[column]] = IGNORED


# Priors that are looked at together, so that the tables of IoU's steps stay in the processor's cache.
_BLOCK = 1024


def _overlaps(boxes: Tensor, priors: Tensor, *, of_prior: bool = False) -> Tensor:
    """[N, P]: IoU, in the order of operations of torchvision's `box_iou`; or the share of the prior inside the box."""
    # One contiguous row for each coordinate: columns of a [P, 4] table are three times slower to read.
    low = (priors[:, :2] - 0.5 * priors[:, 2:]).T.contiguous()
    high = (priors[:, :2] + 0.5 * priors[:, 2:]).T.contiguous()
    areas = (high[0] - low[0]) * (high[1] - low[1])
    x1, y1, x2, y2 = boxes.float()[:, :, None].unbind(dim=1)
    own = (x2 - x1) * (y2 - y1)
    result = areas.new_empty(len(boxes), len(priors))
    # A GPU has the room to do it at once.
    step = _BLOCK if boxes.device.type == "cpu" else max(1, len(priors))
    for start in range(0, len(priors), step):
        part = slice(start, start + step)
        width = torch.minimum(x2, high[0, part]).sub_(torch.maximum(x1, low[0, part])).clamp_(min=0)
        height = torch.minimum(y2, high[1, part]).sub_(torch.maximum(y1, low[1, part])).clamp_(min=0)
        common = width.mul_(height)
        if of_prior:
            common.div_(areas[part].clamp(min=torch.finfo(areas.dtype).tiny))
        else:
            common.div_((own + areas[part]).sub_(common))
        result[:, part] = common
    return result
