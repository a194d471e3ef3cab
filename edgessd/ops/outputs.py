"""What a graph returns, by level. B pictures, P priors, C classes, K = most detections of one picture."""

from __future__ import annotations

from typing import NamedTuple

from edgessd._shapes import Float32, Floats, Int64, Ints


class RawOutputs(NamedTuple):
    """Level `raw`, float32: logits [B, P, C + 1] (softmax, background first) or [B, P, C], offsets [B, P, 4]."""

    logits: Float32[Floats, "b p columns"]
    offsets: Float32[Floats, "b p 4"]


class DecodedOutputs(NamedTuple):
    """Level `decoded`, float32: scores [B, P, C] in 0..1, boxes [B, P, 4] xyxy in units of the input."""

    scores: Float32[Floats, "b p c"]
    boxes: Float32[Floats, "b p 4"]


class FinalOutputs(NamedTuple):
    """Level `nms`, best first: boxes [B, K, 4] xyxy in units of the input, scores [B, K], labels [B, K], counts [B].

    What stands behind the first `counts[b]` entries of picture b has no meaning.
    """

    boxes: Float32[Floats, "b k 4"]
    scores: Float32[Floats, "b k"]
    labels: Int64[Ints, "b k"]
    counts: Int64[Ints, " b"]


Outputs = RawOutputs | DecodedOutputs | FinalOutputs
