"""From class logits to the few (prior, class) pairs whose score passes the threshold.

A score is a rising function of its logit, so a threshold on scores is nearly one on logits: exp() is only taken of
what can pass. What counts is the score itself, as float32: it must be above the threshold, at every level and in
`Detections.filter`, as ONNX's NonMaxSuppression has it. A score equal to the threshold is left out.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from edgessd._shapes import Float32, Floats, Int64, Ints
from edgessd.ops.exp import exp

Candidates = tuple[Int64[Ints, " found"], Int64[Ints, " found"], Float32[Floats, " found"]]


def sigmoid(x: Float32[Floats, "*axes"]) -> Float32[Floats, "*axes"]:
    """1 / (1 + exp(-x)), float32; below -80 it stays at exp(-80), so that nothing overflows."""
    result: Floats = np.float32(1) / (np.float32(1) + exp(-np.maximum(x, np.float32(-80))))
    return result


def softmax(x: Float32[Floats, "*axes"]) -> Float32[Floats, "*axes"]:
    """Softmax over the last axis, float32."""
    powers = exp(x - x.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    return result


def class_scores(
    logits: Float32[Floats, "*axes columns"], scores: Literal["softmax", "sigmoid"]
) -> Float32[Floats, "*axes classes"]:
    """Logits [..., C + 1] (softmax, background first) or [..., C] (sigmoid) -> scores [..., C]."""
    return softmax(logits)[..., 1:] if scores == "softmax" else sigmoid(logits)


def logit(score: float) -> float:
    """log(score / (1 - score)); -inf at 0 and inf at 1."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score / (1 - score))


def lowest_logit(threshold: float) -> np.float32:
    """Return a logit below which no score exceeds the threshold, with room for the rounding of float32."""
    return np.float32(logit(threshold * (1 - 3e-7)) - 1e-3)


def candidates(
    logits: Float32[Floats, "p columns"],
    scores: Literal["softmax", "sigmoid"],
    threshold: float,
    classes: Int64[Ints, " wanted"] | None = None,
) -> Candidates:
    """Return (prior index, label, score) of all pairs with score > threshold, in the order of priors.

    logits: [P, C + 1] with the background first (softmax) or [P, C] (sigmoid).
    classes: labels to look at; None means all. The softmax still runs over all of them.
    """
    if scores == "sigmoid":
        return _sigmoid_candidates(logits, threshold, classes)
    return _softmax_candidates(logits, threshold, classes)


def score_candidates(
    scores: Float32[Floats, "p classes"], threshold: float, classes: Int64[Ints, " wanted"] | None = None
) -> Candidates:
    """Return (prior index, label, score) as `candidates` does, of scores [P, C] that are computed already."""
    columns = scores if classes is None else scores[:, classes]
    flat = np.ascontiguousarray(columns, np.float32).reshape(-1)
    found = np.flatnonzero(flat > np.float32(threshold))
    found = found[np.isfinite(flat[found])]
    prior, label = np.divmod(found, max(columns.shape[1], 1))
    return prior, label if classes is None else classes[label], flat[found]


def _sigmoid_candidates(
    logits: Float32[Floats, "p columns"], threshold: float, classes: Int64[Ints, " wanted"] | None
) -> Candidates:
    columns = logits if classes is None else logits[:, classes]
    flat = np.ascontiguousarray(columns).reshape(-1)
    found = np.flatnonzero(flat > lowest_logit(threshold))
    scores = sigmoid(flat[found])
    above = scores > np.float32(threshold)
    prior, label = np.divmod(found[above], max(columns.shape[1], 1))
    return prior, label if classes is None else classes[label], scores[above]


def _softmax_candidates(
    logits: Float32[Floats, "p columns"], threshold: float, classes: Int64[Ints, " wanted"] | None
) -> Candidates:
    # score > t means background < 1 - t, so logit > background logit + log(t / (1 - t)).
    foreground = logits[:, 1:] if classes is None else logits[:, 1 + classes]
    bound = logits[:, 0] + lowest_logit(threshold)
    rows = np.flatnonzero(foreground.max(axis=1, initial=-np.inf) > bound)
    table = softmax(logits[rows])[:, 1:]
    if classes is not None:
        table = table[:, classes]
    row, label = np.nonzero(table > np.float32(threshold))
    return rows[row], label if classes is None else classes[label], table[row, label]
