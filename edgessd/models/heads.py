"""Prediction layers: class logits and box offsets of every prior of every level.

B batch, P priors, K class columns, A priors per cell, H and W cells. A prediction layer's channels are
ordered (prior, value), so the rows of the result are ordered level, row, column, prior: the order of
`edgessd.ops.priors.prior_boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgessd._shapes import Float
from edgessd.models.layers import conv_norm_act, initialize, normal_initialization


class Head(nn.Module):
    """One prediction layer for logits and one for offsets on each level.

    channels: of the levels' maps. boxes: priors per cell of each level. columns: class columns K.
    kind: `ssd` predicts by 3x3 convolutions, `ssdlite` by depthwise 3x3, batch norm, ReLU6, 1x1.
    """

    def __init__(self, kind: str, channels: Sequence[int], boxes: Sequence[int], columns: int) -> None:
        super().__init__()
        self.columns = columns
        predictor = _ssd_predictor if kind == "ssd" else _ssdlite_predictor
        pairs = list(zip(channels, boxes, strict=True))
        self.logits = nn.ModuleList([predictor(inputs, count * columns) for inputs, count in pairs])
        self.offsets = nn.ModuleList([predictor(inputs, count * 4) for inputs, count in pairs])

    def forward(self, maps: list[Float[Tensor, "b _ _ _"]]) -> tuple[Float[Tensor, "b p k"], Float[Tensor, "b p 4"]]:
        """Return logits [B, P, K] and offsets [B, P, 4] (cx, cy, w, h) for the maps [B, C, H, W]."""
        logits = [_rows(layer(x), self.columns) for layer, x in zip(self.logits, maps, strict=True)]
        offsets = [_rows(layer(x), 4) for layer, x in zip(self.offsets, maps, strict=True)]
        return torch.cat(logits, dim=1), torch.cat(offsets, dim=1)


def _rows(x: Float[Tensor, "b channels h w"], columns: int) -> Float[Tensor, "b rows {columns}"]:
    """[B, A * columns, H, W] -> [B, H * W * A, columns]."""
    _, channels, height, width = x.shape
    # The batch is -1, the only unknown: exported graphs then hold a constant shape.
    return x.permute(0, 2, 3, 1).reshape(-1, height * width * (channels // columns), columns)


def _ssd_predictor(inputs: int, outputs: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    initialize(layer, nn.init.xavier_uniform_)
    return layer


def _ssdlite_predictor(inputs: int, outputs: int) -> nn.Module:
    layer = nn.Sequential(
        conv_norm_act(inputs, inputs, 3, padding=1, groups=inputs),
        nn.Conv2d(inputs, outputs, 1),
    )
    initialize(layer, normal_initialization)
    return layer
