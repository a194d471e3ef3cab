"""How far one network's raw outputs are from another's, on real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgessd.io.images import load_image
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.preprocess import preprocess
from edgessd.ops.scores import class_scores
from edgessd.runtimes.base import Runtime
from edgessd.spec import ModelSpec

# Where the reference sees something: boxes count above the first score, scores above the second.
BOX_SCORE, SCORE = 0.3, 0.05


@dataclass(frozen=True)
class Distance:
    """RMS of differences, the second network against the first as reference.

    logits, offsets: relative to the RMS of the reference, over all priors. boxes: of the offsets of priors whose best
    score is above 0.3. scores: of the scores above 0.05. NaN where no prior is.
    """

    logits: float
    offsets: float
    boxes: float
    scores: float


def distance(network: Runtime, reference: Runtime, pictures: Sequence[Path]) -> Distance:
    """Run both on `pictures`, each through its own spec's preprocessing, and return how far they are apart.

    network, reference: of level `raw`, with the same priors and classes.
    """
    sums = np.zeros((4, 2))  # squared differences and what they are divided by
    for picture in pictures:
        image = load_image(picture)
        add_differences(sums, _run(network, image), _run(reference, image), reference.spec)
    return summed(sums)


def add_differences(sums: NDArray[np.float64], mine: RawOutputs, theirs: RawOutputs, spec: ModelSpec) -> None:
    """Add the differences of one picture to `sums` [4, 2]; see `summed`."""
    for row, (a, b) in enumerate(((mine.logits, theirs.logits), (mine.offsets, theirs.offsets))):
        sums[row] += [np.square(a - b, dtype=np.float64).sum(), np.square(b, dtype=np.float64).sum()]
    scores, expected = (class_scores(each.logits[0], spec.scores) for each in (mine, theirs))
    seen = expected.max(axis=1) > BOX_SCORE
    sums[2] += [np.square(mine.offsets[0][seen] - theirs.offsets[0][seen], dtype=np.float64).sum(), 4 * seen.sum()]
    shown = expected > SCORE
    sums[3] += [np.square(scores[shown] - expected[shown], dtype=np.float64).sum(), shown.sum()]


def summed(sums: NDArray[np.float64]) -> Distance:
    """Return the distance for sums of squares [logits, offsets, boxes, scores] x [difference, reference or count]."""
    values = [float(np.sqrt(a / b)) if b > 0 else float("nan") for a, b in sums]
    return Distance(*values)


def _run(runtime: Runtime, image: NDArray[np.uint8]) -> RawOutputs:
    outputs = runtime.run(preprocess(image, runtime.spec.input)[None])
    assert isinstance(outputs, RawOutputs)
    return outputs
