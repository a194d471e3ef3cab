"""The one way from a picture to an input tensor."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd._shapes import Bytes, Shaped, UInt8
from edgessd.spec import InputSpec

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}


def preprocess(image: UInt8[Bytes, "h w 3"], spec: InputSpec) -> Shaped[NDArray[Any], "_ _ _"]:
    """Turn a picture [H, W, 3] uint8 BGR of any size into one input, `spec.tensor_shape`, of `spec.dtype`."""
    resized = resize(image, spec)
    table = value_table(spec)
    swap = spec.channels == "RGB"
    if spec.layout == "NHWC":
        picture = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB) if swap else resized
        return picture if table is None else np.asarray(cv2.LUT(picture, table.T[None]))
    planes = cv2.split(resized)
    tensor = np.empty(spec.tensor_shape, spec.dtype)
    for channel, plane in enumerate(reversed(planes) if swap else planes):
        tensor[channel] = plane if table is None else cv2.LUT(plane, table[channel][None])
    return tensor


def resize(image: UInt8[Bytes, "h w 3"], spec: InputSpec) -> UInt8[Bytes, "{spec.height} {spec.width} 3"]:
    """Bring a picture to [spec.height, spec.width, 3], by stretching or by letterbox."""
    width, height = content_size(spec, image.shape[1], image.shape[0])
    resized = image
    if (width, height) != (image.shape[1], image.shape[0]):
        scaled = cv2.resize(image, (width, height), interpolation=_INTERPOLATION[spec.interpolation])
        resized = np.asarray(scaled, np.uint8)
    if (width, height) == (spec.width, spec.height):
        return resized
    canvas = np.full((spec.height, spec.width, 3), spec.pad_value, np.uint8)
    canvas[:height, :width] = resized
    return canvas


def content_size(spec: InputSpec, width: int, height: int) -> tuple[int, int]:
    """(width, height) in pixels that a picture of `width` x `height` takes up in the input."""
    if spec.resize == "stretch":
        return spec.width, spec.height
    ratio = min(spec.width / width, spec.height / height)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def source_scale(spec: InputSpec, width: int, height: int) -> tuple[float, float]:
    """Factors (x, y) that turn coordinates in units of the input into pixels of a `width` x `height` picture."""
    content_width, content_height = content_size(spec, width, height)
    return spec.width * width / content_width, spec.height * height / content_height


@lru_cache(maxsize=16)
def value_table(spec: InputSpec) -> Shaped[NDArray[Any], "3 256"] | None:
    """Return [3, 256]: the input value of every pixel value, by channel in the tensor's order; None for "as it is".

    Everything that happens to a pixel after the resize is in this table, for float and integer
    inputs alike, so no two callers can disagree by a rounding.
    """
    values = (np.arange(256)[None] - np.array(spec.mean)[:, None]) / np.array(spec.scale)[:, None]
    if spec.quantization_scale is None:
        return np.asarray(values, np.float32)
    low, high = (0, 255) if spec.dtype == "uint8" else (-128, 127)
    zero_point = spec.quantization_zero_point or 0
    integers = np.clip(np.rint(values / spec.quantization_scale) + zero_point, low, high)
    if spec.dtype == "uint8" and (integers == np.arange(256)).all():
        return None
    return np.asarray(integers, spec.dtype)
