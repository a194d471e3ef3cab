"""The one way from a graph's outputs to boxes, scores and labels in source pixels.

It does little: threshold, decode of what passed, one suppression. Its cost grows with the
survivors, not with the priors. Files of a higher level have done some of it already; what is left is
the same code for all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgessd._shapes import Float, Float32, Floats, Int64, Ints
from edgessd.ops.boxes import decode
from edgessd.ops.nms import best_of_each_class, class_wise_nms
from edgessd.ops.outputs import FinalOutputs, Outputs, RawOutputs
from edgessd.ops.preprocess import source_scale
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.ops.scores import Candidates, candidates, score_candidates
from edgessd.spec import InputSpec, ModelSpec, PriorSpec, Thresholds


class Found(NamedTuple):
    """Detections of one picture, best first: boxes [N, 4] xyxy source pixels, scores [N], labels [N]."""

    boxes: Float32[Floats, "n 4"]
    scores: Float32[Floats, " n"]
    labels: Int64[Ints, " n"]


def postprocess(
    outputs: Outputs,
    spec: ModelSpec,
    image_size: tuple[int, int],
    thresholds: Thresholds | None = None,
    classes: Int64[Ints, " wanted"] | None = None,
    *,
    picture: int = 0,
) -> Found:
    """Turn the outputs for one picture, the `picture`-th of the batch, into detections.

    image_size: (width, height) of the source picture in pixels; boxes are cut to it, and those
    that lie outside of it altogether are dropped.
    thresholds: default `spec.defaults`. classes: labels to look for; None means all.
    Equal scores keep the order of the priors.

    Outputs of level `nms` are filtered by the thresholds, too, but not suppressed a second time.
    """
    limits = thresholds or spec.defaults
    if isinstance(outputs, FinalOutputs):
        return _finish(_final(outputs, picture, len(spec.classes), limits, classes), spec.input, image_size, limits)
    if isinstance(outputs, RawOutputs):
        found = candidates(outputs.logits[picture], spec.scores, limits.score_threshold, classes)
        prior, label, score = _best(found, spec.priors, limits.max_candidates)
        boxes = decode(outputs.offsets[picture][prior], prior_boxes(spec.priors)[prior], spec.coder)
    else:
        found = score_candidates(outputs.scores[picture], limits.score_threshold, classes)
        prior, label, score = _best(found, spec.priors, limits.max_candidates)
        boxes = _copy(outputs.boxes[picture][prior])
    return _finish(Found(boxes, score, label), spec.input, image_size, limits, limits.iou_threshold)


def _best(
    found: Candidates, priors: PriorSpec, count: int
) -> tuple[Int64[Ints, " best"], Int64[Ints, " best"], Float32[Floats, " best"]]:
    """Leave out priors that take no part, sort by falling score, and keep the first `count` of each class."""
    prior, label, score = found
    if priors.exclude_boundary:
        inside = inside_mask(priors)[prior]
        prior, label, score = prior[inside], label[inside], score[inside]
    order = np.argsort(-score, kind="stable")
    order = order[best_of_each_class(label[order], count)]
    return prior[order], label[order], score[order]


def _final(
    outputs: FinalOutputs, picture: int, num_classes: int, limits: Thresholds, classes: Int64[Ints, " wanted"] | None
) -> Found:
    """Select from final outputs; a graph's count and labels are not trusted. The order is by score here, too."""
    count = int(np.clip(outputs.counts[picture], 0, len(outputs.scores[picture])))
    score, label = outputs.scores[picture][:count], outputs.labels[picture][:count]
    keep = np.isfinite(score) & (score > np.float32(limits.score_threshold)) & (label >= 0) & (label < num_classes)
    if classes is not None:
        keep &= np.isin(label, classes)
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.argsort(-score[chosen], kind="stable")]
    return Found(_copy(outputs.boxes[picture][chosen]), _copy(score[chosen]), label[chosen].astype(np.int64))


def _finish(
    found: Found,
    tensor: InputSpec,
    image_size: tuple[int, int],
    limits: Thresholds,
    iou_threshold: float | None = None,
) -> Found:
    """Bring boxes to source pixels (in place), cut them to the picture, drop empty ones, and suppress."""
    boxes, score, label = found
    width, height = image_size
    boxes *= np.tile(np.asarray(source_scale(tensor, width, height), np.float32), 2)
    np.clip(boxes[:, 0::2], 0, width, out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, height, out=boxes[:, 1::2])
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, label, score = boxes[solid], label[solid], score[solid]
    if iou_threshold is None:
        kept = np.arange(min(len(boxes), limits.max_detections))
    else:
        kept = class_wise_nms(boxes, label, iou_threshold, limits.max_detections)
    return Found(boxes[kept], score[kept], label[kept])


def _copy(values: Float[Floats, "*axes"]) -> Float32[Floats, "*axes"]:
    return np.array(values, np.float32)
