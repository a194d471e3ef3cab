"""The paper's VGG-16 (Liu et al. 2016, section 3): classifier layers turned into convolutions.

pool3 rounds up (75 -> 38), pool5 is 3x3 with stride 1, fc6 is a 3x3 convolution with dilation 6 and fc7 a
1x1 one, both with 1024 channels. conv4_3's features are L2-normalised over the channels of a cell and
multiplied by a learned scale per channel that starts at 20 (Liu et al. 2016, "ParseNet").
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgessd.backbones.base import Backbone, Normalization
from edgessd.backbones.registry import register_backbone
from edgessd.errors import ModelError

# torchvision's ssd300_vgg16 and its VGG16_Weights.IMAGENET1K_FEATURES: mean only, in units of 0..255.
VGG_NORMALIZATION = Normalization((0.48235 * 255, 0.45882 * 255, 0.40784 * 255), (1.0, 1.0, 1.0))

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class L2Norm(nn.Module):
    """Divide each cell's features by their Euclidean length, then multiply by a learned scale per channel."""

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        # Not F.normalize: TFLite's converter stumbles over its expanded divisor, and makes of anything that looks like
        # an L2 norm an operator that is too coarse in int8.
        length = x.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-12)
        return x / (length / self.scale.view(1, -1, 1, 1))


@register_backbone("vgg16")
class VGG16(Backbone):
    """VGG-16 as SSD uses it: conv4_3 (512 channels, stride 8) and fc7 (1024 channels, stride 16).

    atrous: False is the full VGG-16 of the paper's section 3.2 ("Atrous is faster"): pool5 2x2 with
        stride 2, fc6 7x7 and fc7 with all 4096 channels, and conv5_3 as a level of its own, so that the maps
        are conv4_3 (stride 8), conv5_3 (stride 16) and fc7 (stride 32).
    """

    def __init__(self, atrous: bool = True) -> None:
        super().__init__()
        self.atrous = atrous
        self.normalization = VGG_NORMALIZATION
        if atrous:
            self.feature_channels, self.feature_strides = [512, 1024], [8, 16]
        else:
            self.feature_channels, self.feature_strides = [512, 512, 4096], [8, 16, 32]
        layers: list[nn.Module] = []
        channels = 3
        for stage, widths in enumerate(_STAGES[:4]):
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            if stage < 3:
                layers.append(nn.MaxPool2d(2, 2, ceil_mode=stage == 2))
        self.conv4 = nn.Sequential(*layers)
        self.norm4 = L2Norm(512)
        layers = [nn.MaxPool2d(2, 2)]
        for width in _STAGES[4]:
            layers += [nn.Conv2d(512, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.conv5 = nn.Sequential(*layers)
        if atrous:
            pool5, fc6 = nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(512, 1024, 3, padding=6, dilation=6)
        else:
            # Caffe's pooling rounds up: 19 -> 10, the map that conv8_2 has in the atrous network.
            pool5, fc6 = nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(512, 4096, 7, padding=3)
        fc7 = nn.Conv2d(fc6.out_channels, fc6.out_channels, 1)
        self.fc = nn.Sequential(pool5, fc6, nn.ReLU(inplace=True), fc7, nn.ReLU(inplace=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return conv4_3 (normalised), conv5_3 where it is a level, and fc7."""
        conv4 = self.conv4(x)
        conv5 = self.conv5(conv4)
        maps = [self.norm4(conv4)] if self.atrous else [self.norm4(conv4), conv5]
        return [*maps, self.fc(conv5)]


def imagenet_state(classifier: Mapping[str, Tensor], atrous: bool = True) -> dict[str, Tensor]:
    """Turn the state dict of torchvision's ImageNet `vgg16` into one for `VGG16`; norm4 is not in it.

    With `atrous`, fc6 [4096, 512, 7, 7] is subsampled to [1024, 512, 3, 3] and fc7 [4096, 4096] to
    [1024, 1024, 1, 1]: every 4th output (and input) and every 3rd row and column of the kernel, as in the
    authors' release (`VGG_ILSVRC_16_layers_fc_reduced`). Raises ModelError for other state dicts.
    """
    state: dict[str, Tensor] = {}
    theirs = 0
    for stage, widths in enumerate(_STAGES):
        for index in range(len(widths)):
            # conv4 holds the same layers in the same order as their `features`; conv5 starts with pool4.
            ours = f"conv4.{theirs}" if stage < 4 else f"conv5.{1 + 2 * index}"
            for part in ("weight", "bias"):
                state[f"{ours}.{part}"] = _tensor(classifier, f"features.{theirs}.{part}")
            theirs += 2
        theirs += 1
    fc6 = _tensor(classifier, "classifier.0.weight").reshape(4096, 512, 7, 7)
    fc7 = _tensor(classifier, "classifier.3.weight").reshape(4096, 4096, 1, 1)
    bias6, bias7 = _tensor(classifier, "classifier.0.bias"), _tensor(classifier, "classifier.3.bias")
    if atrous:
        fc6, bias6 = fc6[::4, :, ::3, ::3], bias6[::4]
        fc7, bias7 = fc7[::4, ::4], bias7[::4]
    state |= {"fc.1.weight": fc6, "fc.1.bias": bias6, "fc.3.weight": fc7, "fc.3.bias": bias7}
    return {key: value.clone() for key, value in state.items()}


def _tensor(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise ModelError(f"these are not the weights of torchvision's vgg16 with its classifier: {key} is missing")
    return state[key]
