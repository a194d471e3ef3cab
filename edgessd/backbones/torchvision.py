"""Backbones of torchvision's published detectors, as `torchvision:NAME`."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from edgessd._torchvision import torchvision
from edgessd.backbones.base import HALF, Backbone
from edgessd.backbones.registry import register_family
from edgessd.errors import OptionError, did_you_mean


class MobileNetV3(Backbone):
    """torchvision's MobileNetV3 with the two levels of its `ssdlite320_mobilenet_v3_large`.

    The first level is the expansion in the last block that halves the map (section 6.3 of the MobileNetV3
    paper; stride 16), the second the end of the network (stride 32). Batch norm has torchvision's
    detection settings. reduced_tail: half the channels in the last stage.
    """

    def __init__(self, variant: str, reduced_tail: bool = True) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        build = getattr(torchvision.models, variant)
        blocks = list(build(weights=None, norm_layer=norm, reduced_tail=reduced_tail).features)
        last = max(index for index, block in enumerate(blocks) if _halves(block))
        inner = blocks[last].block
        self.features = nn.Sequential(
            nn.Sequential(*blocks[:last], inner[0]),
            nn.Sequential(inner[1:], *blocks[last + 1 :]),
        )
        self.feature_channels = [inner[0].out_channels, blocks[-1].out_channels]
        self.feature_strides = [16, 32]
        self.normalization = HALF
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # torchvision's initialisation where there are no weights
                nn.init.normal_(module.weight, std=0.03)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the two maps, strides 16 and 32."""
        middle = self.features[0](x)
        return [middle, self.features[1](middle)]


def _halves(block: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.stride[0] == 2 for module in block.modules())


_VARIANTS = ["mobilenet_v3_large", "mobilenet_v3_small"]


@register_family("torchvision", lambda: list(_VARIANTS))
def create(name: str, reduced_tail: bool = True) -> Backbone:
    """Return torchvision's MobileNetV3 `name`."""
    if name not in _VARIANTS:
        raise OptionError(f"unknown backbone 'torchvision:{name}'{did_you_mean(name, _VARIANTS)}")
    return MobileNetV3(name, reduced_tail)
