"""What stands between the backbone's maps and the levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgessd._shapes import Float
from edgessd.models.layers import conv_norm_act, initialize


class TopDown(nn.Module):
    """One step of a feature pyramid (Lin et al. 2017): the finest level also sees what the next one knows.

    channels: of the two finest maps. width: channels of the result.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = conv_norm_act(channels[0], width)
        self.top = conv_norm_act(channels[1], width)
        initialize(self, nn.init.kaiming_normal_)

    def forward(self, fine: Float[Tensor, "b _ h w"], coarse: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b width h w"]:
        """[B, C0, H, W] and [B, C1, H', W'], half as large -> [B, width, H, W]."""
        enlarged = F.interpolate(self.top(coarse), scale_factor=2.0, mode="nearest")
        result: Tensor = self.lateral(fine) + enlarged[:, :, : fine.shape[2], : fine.shape[3]]
        return result
