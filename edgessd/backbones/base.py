"""What a backbone is: an `nn.Module` that turns pictures into feature maps and says of which kind they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from edgessd.spec import Triple


class Normalization(NamedTuple):
    """How a backbone wants its input: `(p - mean) / scale` for a value p of 0..255, channels in the order RGB."""

    mean: Triple
    scale: Triple


IMAGENET = Normalization((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
HALF = Normalization((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


class Backbone(nn.Module, ABC):
    """Base of all backbones.

    feature_channels: channels of each feature map, finest map first.
    feature_strides: input pixels per cell of each map, in the same order.
    normalization: what its published weights were trained with.
    """

    feature_channels: list[int]
    feature_strides: list[int]
    normalization: Normalization

    @abstractmethod
    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps [B, feature_channels[k], H / stride, W / stride] of pictures [B, 3, H, W]."""
