"""The distance of raw outputs, by hand."""

import numpy as np
import pytest

from edgessd import Detector
from edgessd._cv2 import cv2
from edgessd.evaluation.distance import BOX_SCORE, SCORE, add_differences, distance, summed
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.scores import class_scores, logit
from edgessd.runtimes.fake import FakeRuntime


def outputs(logits, offsets):
    return RawOutputs(np.array([logits], np.float32), np.array([offsets], np.float32))


def test_by_hand():
    spec = Detector(FakeRuntime(classes=("a", "b"))).spec  # sigmoid scores
    high, seen, low = logit(0.6), logit(0.1), logit(0.01)
    theirs = outputs([[high, low], [seen, low]], [[3, 0, 0, 4], [1, 1, 1, 1]])
    mine = outputs([[logit(0.7), low], [seen, logit(0.02)]], [[3, 0, 0, 2], [1, 1, 1, 3]])
    sums = np.zeros((4, 2))
    for _ in range(2):  # two pictures alike
        add_differences(sums, mine, theirs, spec)
    found = summed(sums)
    squares = sum(each**2 for each in (high, low, seen, low))
    moved = (logit(0.7) - high) ** 2 + (logit(0.02) - low) ** 2
    assert found.logits == pytest.approx((moved / squares) ** 0.5, rel=1e-5)
    assert found.offsets == pytest.approx((8 / 29) ** 0.5)
    assert found.boxes == pytest.approx((4 / 4) ** 0.5)  # one prior is above 0.3
    assert found.scores == pytest.approx((0.1**2 / 2) ** 0.5, rel=1e-5)  # two scores are above 0.05
    assert (BOX_SCORE, SCORE) == (0.3, 0.05)


def test_scores_at_the_bounds_do_not_count():
    spec = Detector(FakeRuntime(classes=("a",))).spec
    theirs = outputs([[0.0]], [[1, 1, 1, 1]])
    sums = np.zeros((4, 2))
    add_differences(sums, theirs, theirs, spec)
    assert sums[2].tolist() == [0, 4] and sums[3].tolist() == [0, 1]
    for bound, row in (("BOX_SCORE", 2), ("SCORE", 3)):
        sums = np.zeros((4, 2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"edgessd.evaluation.distance.{bound}", 0.5)  # the score of a logit of 0
            add_differences(sums, theirs, theirs, spec)
        assert sums[row].tolist() == [0, 0]


def test_nothing_seen_is_no_number():
    found = summed(np.array([[0, 2], [1, 4], [0, 0], [3, 0]], float))
    assert (found.logits, found.offsets) == (0, 0.5) and np.isnan([found.boxes, found.scores]).all()


def test_two_networks_on_pictures(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
    one = FakeRuntime([("a", 0.6, (0.1, 0.1, 0.5, 0.5))], classes=("a",))
    other = FakeRuntime([("a", 0.7, (0.1, 0.1, 0.5, 0.5))], classes=("a",))
    assert distance(one, one, [tmp_path / "a.png"]).scores == 0
    assert distance(other, one, [tmp_path / "a.png"] * 2).scores == pytest.approx(0.1, abs=1e-5)


def test_squares_and_sums_are_in_double_precision():
    spec = Detector(FakeRuntime(classes=("a",))).spec
    theirs, mine = outputs([[3e25]], [[1e25, 0, 0, 0]]), outputs([[1e25]], [[3e25, 0, 0, 0]])
    sums = np.zeros((4, 2))
    add_differences(sums, mine, theirs, spec)
    assert sums[:3].tolist() == [pytest.approx(row) for row in ([4e50, 9e50], [4e50, 1e50], [4e50, 4])]
    theirs, mine = outputs([[0.123]], [[1, 1, 1, 1]]), outputs([[0.456]], [[1, 1, 1, 1]])
    sums = np.zeros((4, 2))
    add_differences(sums, mine, theirs, spec)
    moved = float(class_scores(mine.logits, spec.scores)[0, 0, 0] - class_scores(theirs.logits, spec.scores)[0, 0, 0])
    assert sums[3].tolist() == [moved**2, 1]
