"""Adaptive rounding: each weight goes up or down so that a layer's output changes least on real pictures.

D values that a convolution reads for one output (input channels x taps), O output channels.

The nearest grid point is the best rounding of a weight, not of a layer: errors of correlated inputs can cancel.
Weights are rounded one after the other, and the error of each is made good by those that are still free, with the
covariance H [D, D] of the layer's inputs as measure (Frantar et al. 2023, "GPTQ", after Hassibi and Stork's optimal
brain surgeon). The mean of the inputs is left to the bias, which takes up what the rounding shifts on average.

Pairs of weights that kernels add in 16 bits stay within what those hold (`pairs`): the second of a pair gets what the
first leaves it, or the channel a larger scale, whichever changes its output less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgessd.quantization import pairs, pt2e
from edgessd.quantization.rounding import LIMIT, STRETCHES, symmetric_scale

_CONVOLUTION = torch.ops.aten.conv2d.default
# Larger layers (3 x 3 on 512 channels and more) would need a covariance of gigabytes; they are rounded to nearest.
MOST_INPUTS = 4096
# Share of H's mean diagonal that is added to it, for directions that the pictures never showed.
DAMPING = 0.01
# Positions of a map that are looked at, per picture.
POSITIONS = 4096


class Moments:
    """Mean and covariance of columns that come in parts, for G groups of D values each.

    The sums are of what lies above the first part's mean: those of a channel that is nearly constant (a ReLU6 that
    is always full) would else differ by less than float32 can hold.
    """

    def __init__(self) -> None:
        self._count = 0

    def add(self, columns: Tensor) -> None:
        """Take in columns [G, D, positions]."""
        if not self._count:
            self._origin = columns.mean(dim=2, keepdim=True)
            self._products: Tensor | float = 0.0
            self._values: Tensor | float = 0.0
        above = columns - self._origin
        self._products = self._products + above @ above.transpose(1, 2)
        self._values = self._values + above.sum(dim=2)
        self._count += columns.shape[2]

    def mean(self) -> Tensor:
        """[G, D]."""
        return self._origin[..., 0] + self._values / self._count

    def covariance(self) -> Tensor:
        """[G, D, D]."""
        above = torch.as_tensor(self._values) / self._count
        return self._products / self._count - above.unsqueeze(2) * above.unsqueeze(1)


def round_adaptively(graph: GraphModule, batches: Iterable[Tensor]) -> int:
    """Put the weights of a calibrated graph on their grids, in place; return how many layers were rounded this way.

    batches: normalised pictures [B, 3, H, W]. Afterwards the weights' scales are fixed.
    """
    moments = _measure(graph, batches)
    done = 0
    for node in graph.graph.nodes:
        if node.target != _CONVOLUTION or not pt2e.is_fake_quantizer(graph, node.args[1]):
            continue
        quantizer = graph.get_submodule(node.args[1].target)
        assert isinstance(quantizer, pt2e.PerChannelWeightFakeQuantize)
        weight = pt2e.parameter(graph, node.args[1])
        if node in moments and not quantizer.fixed:
            mean, covariance = moments[node].mean(), moments[node].covariance()
            rows = weight.detach().reshape(len(mean), -1, mean.shape[1])
            scale = symmetric_scale(weight.detach()).reshape(len(mean), -1)
            if quantizer.depthwise:
                rounded = adaptive(rows, scale, covariance)
            else:
                rounded, scale = bounded(rows, scale, covariance, pairs.pairings(weight.shape))
            shift = ((rows - rounded) * mean.unsqueeze(1)).sum(dim=2).flatten()
            with torch.no_grad():
                weight.copy_(rounded.reshape(weight.shape))
                if len(node.args) > 2 and node.args[2] is not None:
                    pt2e.parameter(graph, node.args[2]).add_(shift)
            quantizer.fix(scale.flatten())
            done += 1
        else:
            with torch.no_grad():
                weight.copy_(quantizer(weight))
            quantizer.fix(quantizer.scale)
    return done


def adaptive(
    weight: Tensor,
    scale: Tensor,
    covariance: Tensor,
    pairings: Sequence[NDArray[np.int64]] = (),
    damping: float = DAMPING,
) -> Tensor:
    """Return `weight` [G, O, D] rounded to multiples of `scale` [G, O], at most 127 of them.

    covariance: of the D inputs, [G, D, D]. Columns of large variance come first; computed in float64.
    pairings: places [pairs, 2] whose steps add up to `pairs.LIMIT` at most.
    """
    outputs, inputs = weight.shape[1:]
    free, hessian = weight.double(), covariance.double()
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    extra = damping * diagonal.mean(dim=1) + 1e-12
    order = diagonal.argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1)
    hessian = hessian + extra.reshape(-1, 1, 1) * torch.eye(inputs, dtype=torch.float64)
    free = free.gather(2, order.unsqueeze(1).expand(-1, outputs, -1))
    hessian = hessian.gather(1, order.unsqueeze(2).expand(-1, -1, inputs))
    hessian = hessian.gather(2, order.unsqueeze(1).expand(-1, inputs, -1))
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    step = scale.double()
    partners = [_partners(each, place) for each in pairings]
    # Zero where nothing is rounded yet; the last column is the partner of those that have none.
    steps = free.new_zeros(*free.shape[:2], inputs + 1)
    for column in range(inputs):
        value = free[:, :, column]
        low, high = -LIMIT * torch.ones_like(value), LIMIT * torch.ones_like(value)
        for partner in partners:
            other = steps.gather(2, partner[:, column].reshape(-1, 1, 1).expand(-1, outputs, 1))[..., 0]
            low, high = low.maximum(-pairs.LIMIT - other), high.minimum(pairs.LIMIT - other)
        steps[:, :, column] = (value / step).round().clamp(low, high)
        error = (value - steps[:, :, column] * step) / inverse[:, column, column].unsqueeze(1)
        free[:, :, column + 1 :] -= error.unsqueeze(2) * inverse[:, column, column + 1 :].unsqueeze(1)
    rounded = steps[:, :, :inputs] * step.unsqueeze(2)
    return rounded.gather(2, place.unsqueeze(1).expand(-1, outputs, -1)).to(weight.dtype)


def bounded(
    weight: Tensor, scale: Tensor, covariance: Tensor, pairings: Sequence[NDArray[np.int64]]
) -> tuple[Tensor, Tensor]:
    """Return what `adaptive` does within the bound of `pairings`, and the scales [G, O] it chose.

    Channels with a pair beyond the bound try larger scales too (`STRETCHES`); the one whose output changes least, in
    the measure of `covariance`, is taken.
    """
    groups, outputs, inputs = weight.shape
    steps = weight / scale.unsqueeze(2)
    sums = [steps[:, :, each].sum(dim=3).abs().amax(dim=2) for each in pairings]
    tight = torch.stack([torch.zeros_like(scale), *sums]).amax(dim=0).amax(dim=0).gt(pairs.LIMIT - 1).nonzero()[:, 0]
    rows = torch.cat([torch.arange(outputs), tight.repeat(len(STRETCHES))])
    factors = torch.tensor(STRETCHES, dtype=scale.dtype).repeat_interleave(len(tight))
    tried = scale[:, rows] * torch.cat([torch.ones(outputs), factors])
    rounded = adaptive(weight[:, rows], tried, covariance, pairings)
    away = (weight[:, rows] - rounded).double()
    cost = ((away @ covariance.double()) * away).sum(dim=2)
    best = torch.arange(outputs).expand(groups, -1).clone()
    for turn in range(len(STRETCHES)):
        places = outputs + turn * len(tight) + torch.arange(len(tight))
        better = cost[:, places] < cost.gather(1, best[:, tight])
        best[:, tight] = torch.where(better, places, best[:, tight])
    return rounded.gather(1, best.unsqueeze(2).expand(-1, -1, inputs)), tried.gather(1, best)


def _partners(pairing: NDArray[np.int64], place: Tensor) -> Tensor:
    """For each column in the order of rounding [G, D] the column of its partner; D where it has none."""
    groups, inputs = place.shape
    partner = torch.full((groups, inputs), inputs)
    for one, other in (pairing.T, pairing.T[::-1]):
        partner.scatter_(1, place[:, one], place[:, other])
    return partner


def _measure(graph: GraphModule, batches: Iterable[Tensor]) -> dict[Node, Moments]:
    found: dict[Node, Moments] = {}

    class Inputs(Interpreter):
        def run_node(self, n: Node) -> Any:
            if n.target == _CONVOLUTION and pt2e.is_fake_quantizer(graph, n.args[1]):
                seen = _columns(*self.fetch_args_kwargs_from_env(n)[0])
                if seen is not None:
                    found.setdefault(n, Moments()).add(seen)
            return super().run_node(n)

    with torch.no_grad():
        for batch in batches:
            Inputs(graph).run(batch)
    return found


def _columns(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Tensor | None:
    """What a convolution reads, [G, D, positions]; None for a layer that is too large."""
    kernel = tuple(weight.shape[2:])
    taps = kernel[0] * kernel[1]
    if weight.shape[1] * taps > MOST_INPUTS:
        return None
    if kernel == (1, 1) and tuple(stride) == (1, 1):
        seen = x.flatten(2)
    else:
        seen = F.unfold(x, kernel, tuple(dilation), tuple(padding), tuple(stride))
    every = -(-seen.shape[2] // POSITIONS)
    # Starting elsewhere in each picture would see more, but an odd step already meets every column of the map.
    seen = seen[:, :, :: every + (every % 2 == 0)]
    return seen.reshape(len(x), groups, -1, seen.shape[2]).permute(1, 2, 0, 3).flatten(2)
