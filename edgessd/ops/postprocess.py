"""The one way from raw outputs to boxes, scores and labels in source pixels.

It does little: threshold, decode of what passed, one suppression. Its cost grows with the
survivors, not with the priors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgessd.ops.boxes import decode
from edgessd.ops.nms import best_of_each_class, class_wise_nms
from edgessd.ops.preprocess import source_scale
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.ops.scores import candidates
from edgessd.spec import ModelSpec, Thresholds


class Found(NamedTuple):
    """Detections of one picture, best first: boxes [N, 4] xyxy source pixels, scores [N], labels [N]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def postprocess(
    logits: NDArray[np.float32],
    offsets: NDArray[np.float32],
    spec: ModelSpec,
    image_size: tuple[int, int],
    thresholds: Thresholds | None = None,
    classes: NDArray[np.int64] | None = None,
) -> Found:
    """Turn the raw outputs of one picture, logits [P, K] and offsets [P, 4], into detections.

    image_size: (width, height) of the source picture in pixels; boxes are cut to it, and those
    that lie outside of it altogether are dropped.
    thresholds: default `spec.defaults`. classes: labels to look for; None means all.
    Equal scores keep the order of the priors.
    """
    limits = thresholds or spec.defaults
    prior, label, score = candidates(logits, spec.scores, limits.score_threshold, classes)
    if spec.priors.exclude_boundary:
        inside = inside_mask(spec.priors)[prior]
        prior, label, score = prior[inside], label[inside], score[inside]
    order = np.argsort(-score, kind="stable")
    order = order[best_of_each_class(label[order], limits.max_candidates)]
    prior, label, score = prior[order], label[order], score[order]

    width, height = image_size
    boxes = decode(offsets[prior], prior_boxes(spec.priors)[prior], spec.coder)
    boxes *= np.tile(np.asarray(source_scale(spec.input, width, height), np.float32), 2)
    np.clip(boxes[:, 0::2], 0, width, out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, height, out=boxes[:, 1::2])
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, label, score = boxes[solid], label[solid], score[solid]
    kept = class_wise_nms(boxes, label, limits.iou_threshold, limits.max_detections)
    return Found(boxes[kept], score[kept], label[kept])
