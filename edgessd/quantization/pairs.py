"""Which weights of a convolution a processor without VNNI adds in 16 bits, and what they may be.

O output channels, C input channels of a group, kernels of H x W taps.

Kernels for uint8 activations and int8 weights are built on one instruction (`pmaddubsw`) that multiplies two
neighbouring pairs of bytes and adds both products in 16 bits, with saturation: 255 * w1 + 255 * w2 beyond 32,767 is
cut off without a word. Which weights stand beside each other was measured with layers of two non-zero taps on AVX2:
onnxruntime (MLAS) takes the taps in the order row, column, channel and pairs the first with the second, the third with
the fourth, ...; OpenVINO (oneDNN) does so among the channels of each tap. For an even C that is the same.
A depthwise convolution (one output for each input channel) adds in 32 bits in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LIMIT = 128
"""The largest sum of a pair, in steps of the grid, that no activation of 0 ... 255 takes beyond 16 bits."""


def pairings(shape: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return the pairs of a weight [O, C, H, W], as places in one output's taps in the order channel, row, column.

    One array [pairs, 2] for each way of pairing, in which every place stands once at most.
    """
    channels, height, width = shape[1:]
    places = np.arange(channels * height * width).reshape(channels, height, width).transpose(1, 2, 0)
    even, odd = len(places.ravel()) // 2 * 2, channels // 2 * 2
    found = [places.reshape(-1)[:even].reshape(-1, 2)]
    if channels % 2:
        found.append(places[..., :odd].reshape(-1, 2))
    return [pairs for pairs in found if len(pairs)]


def is_depthwise(shape: Sequence[int], groups: int) -> bool:
    """Say whether a convolution with weights [O, C, H, W] has one output for each input channel."""
    return shape[1] == 1 and shape[0] == groups


def saturating(weight: NDArray[np.int8], groups: int = 1) -> int:
    """Count the pairs of an integer weight [O, C, H, W] that can saturate."""
    if is_depthwise(weight.shape, groups):
        return 0
    flat = weight.reshape(len(weight), -1).astype(np.int16)
    return sum(int((np.abs(flat[:, pairs].sum(axis=2)) > LIMIT).sum()) for pairs in pairings(weight.shape))
