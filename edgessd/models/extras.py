"""Extra levels behind the backbone: each takes the map before it and returns a smaller one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from edgessd.models.layers import conv, conv_norm_act, initialize, normal_initialization
from edgessd.spec import ExtraLayer


def ssd_extra(inputs: int, layer: ExtraLayer, pad_type: str = "") -> nn.Sequential:
    """Return 1x1 convolution, ReLU, k x k convolution, ReLU: conv8_1 and conv8_2 of the paper's figure 2."""
    block = nn.Sequential(
        OrderedDict(
            reduce=conv(inputs, layer.hidden),
            act1=nn.ReLU(inplace=True),
            conv=conv(layer.hidden, layer.channels, layer.kernel, layer.stride, layer.padding, pad_type=pad_type),
            act2=nn.ReLU(inplace=True),
        )
    )
    initialize(block, nn.init.xavier_uniform_)
    return block


def ssdlite_extra(inputs: int, layer: ExtraLayer, pad_type: str = "") -> nn.Sequential:
    """Return 1x1, depthwise k x k and 1x1 convolutions, each with batch norm and ReLU6 (MobileNetV2, section 6.2)."""
    hidden = layer.hidden
    block = nn.Sequential(
        OrderedDict(
            reduce=conv_norm_act(inputs, hidden),
            depthwise=conv_norm_act(
                hidden, hidden, layer.kernel, layer.stride, layer.padding, groups=hidden, pad_type=pad_type
            ),
            expand=conv_norm_act(hidden, layer.channels),
        )
    )
    initialize(block, normal_initialization)
    return block


def make_extras(kind: str, inputs: int, layers: Sequence[ExtraLayer], pad_type: str = "") -> nn.ModuleList:
    """Return the extra levels of `kind` (`ssd` or `ssdlite`) behind a map with `inputs` channels."""
    make = ssd_extra if kind == "ssd" else ssdlite_extra
    extras = nn.ModuleList()
    for layer in layers:
        extras.append(make(inputs, layer, pad_type))
        inputs = layer.channels
    return extras
