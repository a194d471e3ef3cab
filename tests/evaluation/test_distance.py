import math

import numpy as np
import pytest

from edgessd import zoo
from edgessd.evaluation.distance import distance
from edgessd.ops.outputs import RawOutputs
from edgessd.runtimes import FakeRuntime


class One(FakeRuntime):
    """One prior of 1,917 has something to say."""

    def __init__(self, logit, offset):
        super().__init__()
        self.logits, self.offsets = np.full_like(self._logits, -20)[None], np.ones_like(self._offsets)[None]
        self.logits[0, 7, 0], self.offsets[0, 7] = logit, offset

    def infer(self, batch):
        return RawOutputs(self.logits, self.offsets)


def test_the_distance_of_two_networks():
    pictures = zoo.photos()[:2]
    away = distance(One(math.log(3), 1.5), One(0, 1), pictures)  # scores 0.75 and 0.5
    assert away.scores == pytest.approx(0.25)
    assert away.boxes == pytest.approx(0.5)
    assert away.offsets == pytest.approx(math.sqrt(4 * 0.25 / (1917 * 4)), rel=1e-5)
    assert away.logits == pytest.approx(math.log(3) / math.sqrt(1916 * 400), rel=1e-5)
    assert distance(One(0, 1), One(0, 1), pictures).scores == 0


def test_where_nothing_is_seen_there_is_no_distance_of_boxes_and_scores():
    away = distance(One(0, 1), One(-20, 1), zoo.photos()[:1])
    assert math.isnan(away.boxes) and math.isnan(away.scores) and away.logits > 0
