"""Putting weights on the int8 grid.

O output channels. A depthwise kernel is often an edge detector whose taps sum to almost nothing; rounding each
tap for itself shifts that sum, and with it the answer to every flat area. In SSDLite-MobileNetV2 most of the
quantisation error of the whole network came from there, so the roundings are chosen to keep the sum.
The weights of other convolutions stay within the bound of `pairs`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgessd.quantization import pairs

LIMIT = 127
# Multiples of a channel's smallest scale that are tried where a pair of its weights exceeds the bound; at the last
# one no pair can.
STRETCHES = (1.03, 1.07, 1.12, 1.2, 1.3, 1.45, 1.65, 2.0)


def symmetric_scale(weight: Tensor) -> Tensor:
    """[O] steps of the grid: the largest magnitude of each output channel is 127 steps."""
    return weight.reshape(len(weight), -1).abs().amax(dim=1).clamp(min=1e-12) / LIMIT


def on_grid(weight: Tensor, scale: Tensor, *, keep_sum: bool = False, bounded: bool = False) -> Tensor:
    """Return `weight` [O, ...] rounded to multiples of `scale` [O], at most 127 of them.

    keep_sum: of all roundings up or down take those whose sum over the channel is nearest to the original's;
    the taps that lie nearest to the other side of their step give way first.
    bounded: bring pairs of [O, C, H, W] down to `pairs.LIMIT`, both by the same.
    """
    step = scale.reshape(-1, *[1] * (weight.dim() - 1))
    target = weight / step
    rounded = target.round().clamp(-LIMIT, LIMIT)
    if keep_sum:
        rounded = _keep_sum(target.reshape(len(weight), -1), rounded.reshape(len(weight), -1)).reshape(weight.shape)
    if bounded:
        rounded = _bound(rounded)
    return rounded * step


def bounded_scale(weight: Tensor) -> Tensor:
    """[O] steps for weights [O, C, H, W] under the bound of `pairs`: those whose rounding changes a channel least."""
    smallest = symmetric_scale(weight)
    tight = (on_grid(weight, smallest) != on_grid(weight, smallest, bounded=True)).flatten(1).any(dim=1).nonzero()[:, 0]
    if not len(tight):
        return smallest
    best, rows = smallest.clone(), weight[tight]
    least = _squared_error(rows, smallest[tight])
    for factor in STRETCHES:
        scale = smallest[tight] * factor
        error = _squared_error(rows, scale)
        best[tight], least = torch.where(error < least, scale, best[tight]), least.minimum(error)
    return best


def _squared_error(weight: Tensor, scale: Tensor) -> Tensor:
    away = on_grid(weight, scale, bounded=True) - weight
    return away.reshape(len(weight), -1).square().sum(dim=1)


def _bound(steps: Tensor) -> Tensor:
    """Integers [O, C, H, W] -> the same with no pair beyond the bound."""
    flat = steps.reshape(len(steps), -1).clone()
    for pairing in pairs.pairings(steps.shape):
        two = flat[:, pairing]
        total = two.sum(dim=2)
        beyond = total.sign() * (total.abs() - pairs.LIMIT).clamp(min=0)
        flat[:, pairing] = two - torch.stack([(beyond / 2).ceil(), (beyond / 2).floor()], dim=2)
    return flat.reshape(steps.shape)


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
