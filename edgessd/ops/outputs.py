"""What a graph returns, by level. B pictures, P priors, C classes, K = most detections of one picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RawOutputs(NamedTuple):
    """Level `raw`, float32: logits [B, P, C + 1] (softmax, background first) or [B, P, C], offsets [B, P, 4]."""

    logits: NDArray[np.float32]
    offsets: NDArray[np.float32]


class DecodedOutputs(NamedTuple):
    """Level `decoded`, float32: scores [B, P, C] in 0..1, boxes [B, P, 4] xyxy in units of the input."""

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]


class FinalOutputs(NamedTuple):
    """Level `nms`, best first: boxes [B, K, 4] xyxy in units of the input, scores [B, K], labels [B, K], counts [B].

    What stands behind the first `counts[b]` entries of picture b has no meaning.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]


Outputs = RawOutputs | DecodedOutputs | FinalOutputs
