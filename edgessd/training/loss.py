"""The training objective (Liu et al. 2016, equation 1): class loss and location loss of the matched priors.

B batch, P priors, G objects of the fullest picture, K class columns (C + 1 for softmax, C for sigmoid).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgessd.errors import OptionError
from edgessd.spec import CoderSpec
from edgessd.training.matching import BACKGROUND

LossKind = Literal["softmax", "focal", "sigmoid", "multibox"]
LOSS_KINDS: tuple[LossKind, ...] = ("softmax", "focal", "sigmoid", "multibox")

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
# MultiBox (Erhan et al. 2014) weighs its location loss by 0.3; SSD's alpha is 1.
MULTIBOX_ALPHA = 0.3


class Losses(NamedTuple):
    """Parts of the loss, scalars float32: `total` = `classes` + alpha * `boxes`; all divided by the normaliser."""

    total: Tensor
    classes: Tensor
    boxes: Tensor


class MultiBoxLoss(nn.Module):
    """Class loss and location loss of a batch, in float32 whatever the predictions are.

    priors: [P, 4] (cx, cy, w, h). coder: the variances.
    kind: `softmax` is the paper's: cross-entropy with hard negative mining and smooth L1; torchvision's
        `SSD.compute_loss` gives the same numbers. `sigmoid`: one binary cross-entropy per class, mined alike.
        `focal`: sigmoid focal loss (Lin et al. 2017) over all priors. `multibox`: binary cross-entropy over
        all priors without mining, and half the squared distance for locations (Erhan et al. 2014, equation 1);
        meant for one class, `object`, and bipartite matching.
    alpha: weight of the location loss. negative_ratio: negatives per positive of a picture where they are mined.

    Raises OptionError for an unknown kind.
    """

    priors: Tensor

    def __init__(
        self,
        priors: Tensor,
        coder: CoderSpec | None = None,
        kind: LossKind = "softmax",
        *,
        alpha: float = 1.0,
        negative_ratio: float = 3.0,
    ) -> None:
        super().__init__()
        if kind not in LOSS_KINDS:
            raise OptionError(f"unknown loss {kind!r}: use {', '.join(LOSS_KINDS)}")
        self.register_buffer("priors", priors.float(), persistent=False)
        self.coder = coder or CoderSpec()
        self.kind = kind
        self.alpha = alpha
        self.negative_ratio = negative_ratio

    def forward(
        self,
        logits: Tensor,
        offsets: Tensor,
        matched: Tensor,
        boxes: Tensor,
        labels: Tensor,
        normalizer: Tensor | float | None = None,
    ) -> Losses:
        """Return the losses of predictions [B, P, K] and [B, P, 4].

        matched: [B, P], from `match`. boxes: [B, G, 4] xyxy in units of the priors; labels: [B, G], 0 is the
        first class, not the background.
        normalizer: what the sums are divided by; default the number of matched priors of the batch, at least 1.
            Where a batch is spread over processes or steps, pass the number of them all.
        """
        # The compiled graph must not depend on how many priors matched, so it computes every one and masks.
        parts = self._dense if torch.compiler.is_compiling() else self._sparse
        classes, location = parts(logits, offsets, matched, boxes, labels)
        if normalizer is None:
            normalizer = (matched >= 0).sum().clamp(min=1)
        classes = classes / normalizer
        location = location / normalizer
        return Losses(classes + self.alpha * location, classes, location)

    def _sparse(
        self, logits: Tensor, offsets: Tensor, matched: Tensor, boxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, count, width = logits.shape
        image, prior = (matched >= 0).nonzero(as_tuple=True)
        which = matched[image, prior]
        rows = image * count + prior
        chosen = offsets.reshape(-1, 4).index_select(0, rows)
        location = self._location(chosen, boxes[image, which], self.priors[prior]).sum()
        if self.kind in ("focal", "multibox"):
            return self._over_all(logits, matched, boxes, labels), location
        columns = labels[image, which]
        order, taken = self._negatives(logits.detach(), matched)
        order = order + torch.arange(batch, device=order.device)[:, None] * count
        negatives = order[taken]
        chosen = logits.reshape(-1, width).index_select(0, torch.cat([rows, negatives])).float()
        if self.kind == "softmax":
            targets = torch.cat([columns + 1, torch.zeros_like(negatives)])
            return F.cross_entropy(chosen, targets, reduction="sum"), location
        wanted = torch.zeros_like(chosen)
        wanted[torch.arange(len(columns), device=columns.device), columns] = 1
        return F.binary_cross_entropy_with_logits(chosen, wanted, reduction="sum"), location

    def _dense(
        self, logits: Tensor, offsets: Tensor, matched: Tensor, boxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        positive = matched >= 0
        which = matched.clamp(min=0)
        target = boxes.gather(1, which[..., None].expand(-1, -1, 4))
        # Priors without an object get their own box as target: finite, and masked afterwards.
        half = self.priors[:, 2:] / 2
        own = torch.cat([self.priors[:, :2] - half, self.priors[:, :2] + half], dim=1)
        target = torch.where(positive[..., None], target, own)
        location = (self._location(offsets, target, self.priors) * positive[..., None]).sum()
        if self.kind in ("focal", "multibox"):
            return self._over_all(logits, matched, boxes, labels), location
        order, taken = self._negatives(logits.detach(), matched)
        selected = positive | torch.zeros_like(positive).scatter_(1, order, taken)
        columns = labels.gather(1, which)
        values = logits.float()
        if self.kind == "softmax":
            targets = torch.where(positive, columns + 1, 0)
            each = F.cross_entropy(values.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        else:
            each = F.binary_cross_entropy_with_logits(values, _one_hot(values, positive, columns), reduction="none")
            each = each.sum(dim=2)
        return torch.where(selected, each, 0).sum(), location

    def _location(self, offsets: Tensor, boxes: Tensor, priors: Tensor) -> Tensor:
        targets = encode(boxes.float(), priors, self.coder)
        if self.kind == "multibox":
            return 0.5 * (offsets.float() - targets).square()
        return F.smooth_l1_loss(offsets.float(), targets, reduction="none")

    @torch.no_grad()
    def _negatives(self, logits: Tensor, matched: Tensor) -> tuple[Tensor, Tensor]:
        """Of each picture the `negative_ratio` * positives background priors with the largest loss.

        Returns prior indices [B, M], and [B, M] bool: which of them are meant.
        """
        background = matched == BACKGROUND
        wanted = (self.negative_ratio * (matched >= 0).sum(dim=1)).long()
        wanted = torch.minimum(wanted, background.sum(dim=1))
        loss = torch.where(background, self._background_loss(logits), -torch.inf)
        # The compiled graph needs a size that does not depend on the data.
        compiling = torch.compiler.is_compiling()
        most = loss.shape[1] if compiling or not len(wanted) else int(wanted.max())
        order = _largest(loss, most)
        return order, torch.arange(most, device=order.device) < wanted[:, None]

    def _background_loss(self, logits: Tensor) -> Tensor:
        """[B, P]: the class loss of each prior if it should say "background"."""
        values = logits.float()
        if self.kind != "softmax":
            return F.softplus(values).sum(dim=2)
        if _plain_cpu(values) and values.numel():
            loss = _fast_background_loss(values)
            if loss is not None:
                return loss
        return -F.log_softmax(values, dim=2)[..., 0]

    def _over_all(self, logits: Tensor, matched: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Sum of the sigmoid losses of all priors that are not ignored."""
        values = logits.float()
        positive = matched >= 0
        wanted = _one_hot(values, positive, labels.gather(1, matched.clamp(min=0)))
        each = F.binary_cross_entropy_with_logits(values, wanted, reduction="none")
        if self.kind == "focal":
            # (1 - p_t) ** gamma and alpha_t of Lin et al. 2017, equation 5; p_t = exp(-cross-entropy).
            alpha = torch.where(wanted > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
            each = alpha * (1 - torch.exp(-each)).pow(FOCAL_GAMMA) * each
        return torch.where((positive | (matched == BACKGROUND))[..., None], each, 0).sum()


def _plain_cpu(values: Tensor) -> bool:
    return values.device.type == "cpu" and not torch.compiler.is_compiling()


# Rows that are looked at together, so that they stay in the processor's cache.
_ROWS = 8192


def _fast_background_loss(values: Tensor) -> Tensor | None:
    """log(sum(exp(x))) - x[0] over the last axis, or None where an exp() left float32's range.

    Three times faster than log_softmax: no maximum is taken off before, exp2 is what torch has vectorised best, and
    each block of rows is read from memory once.
    """
    rows = values.reshape(-1, values.shape[-1])
    ones = rows.new_ones(rows.shape[1])
    space = rows.new_empty(min(_ROWS, len(rows)), rows.shape[1])
    result = rows.new_empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        block, sums = rows[start : start + _ROWS], result[start : start + _ROWS]
        powers = torch.mul(block, 1 / math.log(2), out=space[: len(block)]).exp2_()
        torch.mv(powers, ones, out=sums)
        low, high = sums.aminmax()
        if not (low > 1e-30 and high < torch.inf):  # NaN fails the comparison
            return None
        sums.log_().sub_(block[:, 0])
    return result.view(values.shape[:-1])


def _largest(values: Tensor, count: int) -> Tensor:
    """Indices [B, count] of the largest of each row of [B, P], the largest first."""
    if not _plain_cpu(values) or not 0 < count < values.shape[1]:
        return values.topk(count, dim=1).indices
    # numpy's partition is several times faster than torch's topk; only what it leaves is sorted.
    chosen = torch.from_numpy(np.argpartition(values.numpy(), -count, axis=1)[:, -count:].copy())
    return chosen.gather(1, values.gather(1, chosen).argsort(dim=1, descending=True))


def _one_hot(values: Tensor, positive: Tensor, columns: Tensor) -> Tensor:
    wanted = torch.zeros_like(values)
    return wanted.scatter_(2, columns[..., None], positive[..., None].to(values.dtype))


def encode(boxes: Tensor, priors: Tensor, coder: CoderSpec) -> Tensor:
    """Offsets [..., 4] that turn `priors` [..., 4] (cx, cy, w, h) into `boxes` [..., 4] xyxy: `ops.boxes.encode`."""
    size = boxes[..., 2:] - boxes[..., :2]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    return torch.cat(
        [
            (center - priors[..., :2]) / priors[..., 2:] / coder.center_variance,
            torch.log(size / priors[..., 2:]) / coder.size_variance,
        ],
        dim=-1,
    )
