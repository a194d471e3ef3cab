import numpy as np
import pytest

from edgessd import Detector
from edgessd.errors import OptionError
from edgessd.runtimes import FakeRuntime

ANSWERS = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8)), ("dog", 0.6, (0.5, 0.5, 1.0, 1.0)), ("dog", 0.7, (0.0, 0.0, 0.05, 0.05))]


def test_answers_come_back_through_the_real_postprocessing():
    detector = Detector(FakeRuntime(ANSWERS, classes=("cat", "dog")), score_threshold=0.5)
    found = detector(np.zeros((100, 200, 3), np.uint8))
    assert found.names == ("cat", "dog", "dog")
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, [[20, 20, 100, 80], [0, 0, 10, 5], [100, 50, 200, 100]], atol=1e-3)


def test_two_objects_in_one_place_do_not_overwrite_each_other():
    box = (0.1, 0.1, 0.9, 0.9)
    detector = Detector(FakeRuntime([("cat", 0.9, box), ("dog", 0.8, box)], classes=("cat", "dog")))
    assert detector(np.zeros((10, 10, 3), np.uint8)).names == ("cat", "dog")


def test_nothing_by_default():
    runtime = FakeRuntime()
    assert len(Detector(runtime)(np.zeros((10, 10, 3), np.uint8))) == 0
    assert runtime.calls == 1


def test_an_unknown_class_is_refused():
    with pytest.raises(OptionError, match="no class 'bird'"):
        FakeRuntime([("bird", 0.5, (0, 0, 1, 1))])
