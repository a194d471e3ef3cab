"""A runtime without a network, for tests of programs that use edgessd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.classes.class_map import class_labels
from edgessd.ops.boxes import encode, iou_matrix, to_xyxy
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.priors import prior_boxes, tensorflow_priors
from edgessd.ops.scores import logit
from edgessd.runtimes.base import Runtime
from edgessd.spec import InputSpec, ModelSpec

Answer = tuple[str, float, tuple[float, float, float, float]]


class FakeRuntime(Runtime):
    """Answers every picture with the same objects, through the real decode and suppression.

    answers: (class name, score, (x1, y1, x2, y2) in units of the picture) each.

    >>> from edgessd import Detector
    >>> detector = Detector(FakeRuntime([("cat", 0.9, (0.1, 0.2, 0.5, 0.8))], classes=("cat", "dog")))
    """

    thread_safe = True
    name = "fake"

    def __init__(self, answers: Sequence[Answer] = (), classes: Sequence[str] = ("object",)) -> None:
        maps = [(side, side) for side in (19, 10, 5, 3, 2, 1)]
        self.spec = ModelSpec(
            name="fake",
            input=InputSpec(width=300, height=300, mean=(127.5,) * 3, scale=(127.5,) * 3),
            classes=tuple(classes),
            priors=tensorflow_priors(maps),
            scores="sigmoid",
        )
        self.calls = 0
        priors = prior_boxes(self.spec.priors)
        self._logits = np.full((len(priors), len(classes)), -20, np.float32)
        self._offsets = np.zeros((len(priors), 4), np.float32)
        free = np.ones(len(priors), bool)
        for name, score, box in answers:
            target = np.asarray([box], np.float32)
            best = int(np.argmax(np.where(free, iou_matrix(target, to_xyxy(priors))[0], -1)))
            free[best] = False
            self._logits[best, class_labels([name], self.spec.classes)[0]] = logit(score)
            self._offsets[best] = encode(target, priors[best : best + 1], self.spec.coder)[0]

    def infer(self, batch: NDArray[Any]) -> RawOutputs:
        """Return the same outputs for each picture of the batch."""
        self.calls += 1
        count = len(batch)
        return RawOutputs(np.stack([self._logits] * count), np.stack([self._offsets] * count))
