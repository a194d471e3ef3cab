"""A faster backward pass of strided depthwise convolutions in bfloat16 on processors.

oneDNN has a kernel of its own for the gradient of a depthwise convolution's input only in float32. In bfloat16 a
strided one goes through the kernel for grouped convolutions, which is 4 to 15 times slower: more than half of a
step of MobileNetV2. Here that gradient is an ordinary depthwise convolution: the gradient of the output is spread
over a map of the input's size, zeros between, and convolved with the kernel turned by 180 degrees. The sums are the
same, in another order. The gradient of the weights stays oneDNN's.

B batch, C channels, H and W of the input.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgessd._torchvision import timm
from edgessd.models.layers import SameConv2d

# Rows before and after, columns before and after.
Pads = tuple[int, int, int, int]


def speed_up(network: nn.Module) -> int:
    """Let the strided depthwise convolutions of a network use the faster backward pass; return how many there are.

    Parameters and their names stay, and so does everything but gradients in bfloat16 on a processor.
    """
    found = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and _fits(layer)]
    for layer in found:
        layer.__class__ = _faster_class(type(layer))  # type: ignore[arg-type]  # a class is hashable
    return len(found)


def _fits(layer: nn.Conv2d) -> bool:
    """Depthwise, strided, with an odd kernel, and padded with zeros in a way that is known here."""
    return (
        type(layer) in (nn.Conv2d, SameConv2d, timm.layers.Conv2dSame)
        and layer.groups == layer.in_channels == layer.out_channels
        and layer.stride[0] == layer.stride[1] > 1
        and layer.dilation == (1, 1)
        and all(size % 2 == 1 for size in layer.kernel_size)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


class _Faster(nn.Conv2d):
    """What is put in front of a convolution's class."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H', W'], as the class behind it."""
        pads = self._bfloat16_pads(input)
        if pads is None:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.bfloat16()
        result: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            input.bfloat16(), self.weight.bfloat16(), bias, self.stride[0], pads
        )
        return result

    def _bfloat16_pads(self, x: Tensor) -> Pads | None:
        """The padding, where the faster way is open."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if (
            dtype != torch.bfloat16
            or x.device.type != "cpu"
            or torch.compiler.is_compiling()
            or not (x.requires_grad and torch.is_grad_enabled())
            or not x.is_contiguous(memory_format=torch.channels_last)
        ):
            return None
        rows, columns = (_padding(self, axis, x.shape[2 + axis]) for axis in (0, 1))
        for axis, (before, after) in enumerate((rows, columns)):
            # The spread gradient must have a place in the map for every cell.
            kernel, size, stride = self.kernel_size[axis], x.shape[2 + axis], self.stride[axis]
            first = kernel // 2 - before
            cells = (size + before + after - kernel) // stride + 1
            if first < 0 or cells < 1 or first + (cells - 1) * stride >= size:
                return None
        return *rows, *columns


def _padding(layer: nn.Conv2d, axis: int, size: int) -> tuple[int, int]:
    if isinstance(layer, SameConv2d | timm.layers.Conv2dSame):
        cells = -(-size // layer.stride[axis])
        total = max((cells - 1) * layer.stride[axis] + layer.kernel_size[axis] - size, 0)
        return total // 2, total - total // 2
    return int(layer.padding[axis]), int(layer.padding[axis])


@cache
def _faster_class(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    return type(f"Faster{kind.__name__}", (_Faster, kind), {})


class _Convolution(torch.autograd.Function):
    """Depthwise convolution of channels-last x [B, C, H, W] with weight [C, 1, K, K]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, pads: Pads) -> Tensor:
        top, bottom, left, right = pads
        padded, padding = x, (top, left)
        # oneDNN would, but torch's convolution does not take a padding with unequal sides. And where a map is smaller
        # than the kernel, oneDNN's gradient of the weights reads memory that nobody wrote (seen in torch 2.13).
        if (top, left) != (bottom, right) or min(x.shape[2:]) < max(weight.shape[2:]):
            padded, padding = _pad(x, pads), (0, 0)
        ctx.save_for_backward(padded, weight)
        ctx.stride, ctx.padding, ctx.size, ctx.bias = stride, padding, x.shape[2:], bias is not None
        ctx.first = weight.shape[2] // 2 - top, weight.shape[3] // 2 - left
        return F.conv2d(padded, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        [gradient] = gradients
        padded, weight = ctx.saved_tensors
        channels, stride = len(weight), ctx.stride
        wanted = [False, ctx.needs_input_grad[1], ctx.bias and ctx.needs_input_grad[2]]
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            padded,
            weight,
            [channels],
            [stride, stride],
            ctx.padding,
            [1, 1],
            False,
            [0, 0],
            channels,
            wanted,
        )
        of_input = None
        if ctx.needs_input_grad[0]:
            row, column = ctx.first
            spread = _channels_last(gradient, ctx.size).zero_()
            spread[:, :, row::stride, column::stride][:, :, : gradient.shape[2], : gradient.shape[3]] = gradient
            turned = weight.flip(2, 3).contiguous(memory_format=torch.channels_last)
            half = weight.shape[2] // 2, weight.shape[3] // 2
            of_input = F.conv2d(spread, turned, None, 1, half, 1, channels)
        return of_input, of_weight, of_bias, None, None


def _pad(x: Tensor, pads: Pads) -> Tensor:
    """`F.pad` with zeros, which fills the whole map first: here the border alone."""
    top, bottom, left, right = pads
    height, width = x.shape[2:]
    result = _channels_last(x, (top + height + bottom, left + width + right))
    result[:, :, :top].zero_()
    result[:, :, top + height :].zero_()
    result[:, :, :, :left].zero_()
    result[:, :, :, left + width :].zero_()
    result[:, :, top : top + height, left : left + width] = x
    return result


def _channels_last(like: Tensor, size: tuple[int, int]) -> Tensor:
    return like.new_empty((len(like), *size, like.shape[1])).permute(0, 3, 1, 2)
