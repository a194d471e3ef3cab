"""Putting weights on the int8 grid.

O output channels. A depthwise kernel is often an edge detector whose taps sum to almost nothing; rounding each
tap for itself shifts that sum, and with it the answer to every flat area. In SSDLite-MobileNetV2 most of the
quantisation error of the whole network came from there, so the roundings are chosen to keep the sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

LIMIT = 127


def symmetric_scale(weight: Tensor) -> Tensor:
    """[O] steps of the grid: the largest magnitude of each output channel is 127 steps."""
    return weight.reshape(len(weight), -1).abs().amax(dim=1).clamp(min=1e-12) / LIMIT


def on_grid(weight: Tensor, scale: Tensor, *, keep_sum: bool) -> Tensor:
    """Return `weight` [O, ...] rounded to multiples of `scale` [O], at most 127 of them.

    keep_sum: of all roundings up or down take those whose sum over the channel is nearest to the original's;
    the taps that lie nearest to the other side of their step give way first.
    """
    step = scale.reshape(-1, *[1] * (weight.dim() - 1))
    target = weight / step
    rounded = target.round().clamp(-LIMIT, LIMIT)
    if keep_sum:
        rounded = _keep_sum(target.reshape(len(weight), -1), rounded.reshape(len(weight), -1)).reshape(weight.shape)
    return rounded * step


def _keep_sum(target: Tensor, rounded: Tensor) -> Tensor:
    """[O, taps] targets and their nearest integers -> integers whose sum is the rounded sum of the targets."""
    missing = (target.sum(1) - rounded.sum(1)).round()
    direction = missing.sign().unsqueeze(1)
    residual = direction * (target - rounded)
    # The largest tap defines the scale and sits on the end of the grid: it stays.
    fixed = ((rounded + direction).abs() > LIMIT) | (target.abs() >= LIMIT * (1 - 1e-6))
    order = residual.masked_fill(fixed, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    chosen = (rank < missing.abs().unsqueeze(1)) & ~fixed
    return rounded + direction * chosen
