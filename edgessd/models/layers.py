"""Convolutions of extra layers and heads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from edgessd._shapes import Float

# torchvision's SSDLite; TensorFlow's has the same epsilon and a slower average.
NORM_EPS = 0.001
NORM_MOMENTUM = 0.03


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: ceil(size / stride) cells out, the odd pixel at bottom and right.

    Where the padding is symmetric (it depends on the size of the input) the convolution pads by itself,
    which is faster in training than a separate padding.
    """

    def forward(self, input: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b {self.out_channels} _ _"]:
        """[B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""
        left, right = self._pads(input.shape[3], 1)
        top, bottom = self._pads(input.shape[2], 0)
        if (left, top) == (right, bottom):
            padding = (top, left)
        else:
            input, padding = F.pad(input, (left, right, top, bottom)), (0, 0)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _pads(self, size: int, axis: int) -> tuple[int, int]:
        kernel, stride, dilation = self.kernel_size[axis], self.stride[axis], self.dilation[axis]
        cells = -(-size // stride)
        total = max((cells - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    bias: bool = True,
    pad_type: str = "",
) -> nn.Conv2d:
    """Return a convolution; with `pad_type` `same`, strided ones ignore `padding` and pad like TensorFlow."""
    if pad_type == "same" and stride > 1:
        return SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=bias)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)


def conv_norm_act(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1, pad_type: str = ""
) -> nn.Sequential:
    """Return convolution, batch norm and ReLU6, named `conv`, `norm` and `act`."""
    return nn.Sequential(
        OrderedDict(
            conv=conv(inputs, outputs, kernel, stride, padding, groups, bias=False, pad_type=pad_type),
            norm=nn.BatchNorm2d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM),
            act=nn.ReLU6(inplace=True),
        )
    )


def initialize(module: nn.Module, weight: Callable[[Tensor], object]) -> None:
    """Fill the weights of all convolutions of `module` by `weight`, their biases with zeros."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            weight(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def normal_initialization(weight: Tensor) -> object:
    """SSDLite's: normal with standard deviation 0.03 (torchvision and TensorFlow)."""
    return nn.init.normal_(weight, std=0.03)
