"""Boxes: IoU and the coder between offsets and boxes (Liu et al. 2016, equation 2)."""

from __future__ import annotations

import math

import numpy as np

from edgessd._shapes import Float32, Floats
from edgessd.ops.exp import exp
from edgessd.spec import CoderSpec

# A size can grow by at most this factor, so that a wild offset does not overflow exp(); the same
# bound as torchvision's `BoxCoder.bbox_xform_clip`.
MAX_LOG_SIZE = math.log(1000 / 16)


def to_xyxy(boxes: Float32[Floats, "n 4"]) -> Float32[Floats, "n 4"]:
    """[N, 4] (cx, cy, w, h) to (x1, y1, x2, y2), in any unit."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def to_cxcywh(boxes: Float32[Floats, "n 4"]) -> Float32[Floats, "n 4"]:
    """[N, 4] (x1, y1, x2, y2) to (cx, cy, w, h), in any unit."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def iou_matrix(first: Float32[Floats, "n 4"], second: Float32[Floats, "m 4"]) -> Float32[Floats, "n m"]:
    """Intersection over union of every pair, [N, M], of [N, 4] and [M, 4] xyxy boxes; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.maximum(high - low, 0)
    overlap = size[..., 0] * size[..., 1]
    area_first = (first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1])
    area_second = (second[:, 2] - second[:, 0]) * (second[:, 3] - second[:, 1])
    union = area_first[:, None] + area_second[None, :] - overlap
    result: Floats = overlap / np.maximum(union, np.finfo(np.float32).tiny)
    return result


def decode(offsets: Float32[Floats, "n 4"], priors: Float32[Floats, "n 4"], coder: CoderSpec) -> Float32[Floats, "n 4"]:
    """Turn offsets [N, 4] and priors [N, 4] (cx, cy, w, h) into boxes [N, 4] xyxy, in units of the priors."""
    center = priors[:, :2] + offsets[:, :2] * np.float32(coder.center_variance) * priors[:, 2:]
    log_size = np.minimum(offsets[:, 2:] * np.float32(coder.size_variance), np.float32(MAX_LOG_SIZE))
    half = exp(log_size) * priors[:, 2:] / 2
    return np.concatenate([center - half, center + half], axis=1)


def encode(boxes: Float32[Floats, "n 4"], priors: Float32[Floats, "n 4"], coder: CoderSpec) -> Float32[Floats, "n 4"]:
    """Turn boxes [N, 4] xyxy and priors [N, 4] (cx, cy, w, h) into offsets [N, 4]: the inverse of `decode`."""
    target = to_cxcywh(boxes)
    center = (target[:, :2] - priors[:, :2]) / priors[:, 2:] / np.float32(coder.center_variance)
    size = np.log(target[:, 2:] / priors[:, 2:]) / np.float32(coder.size_variance)
    return np.concatenate([center, size], axis=1)
