import msgspec
import numpy as np
import pytest

from edgessd.errors import OptionError
from edgessd.ops.thresholds import changed
from edgessd.runtimes.fake import FakeRuntime
from edgessd.spec import OutputSpec, Thresholds

BASE = Thresholds(score_threshold=0.4, iou_threshold=0.5, max_detections=50, max_candidates=60)
RAW = FakeRuntime(classes=("a",)).spec
INSIDE = msgspec.structs.replace(RAW, output=OutputSpec(level="nms"), defaults=BASE)


def test_what_is_given_stands_for_the_base():
    given = {"score_threshold": 0.1, "iou_threshold": 0.9, "max_detections": 70, "max_candidates": 80}
    assert changed(RAW, BASE, **given) == Thresholds(**given)
    assert changed(RAW, BASE, **dict.fromkeys(given)) == BASE
    assert changed(RAW, BASE, score_threshold=0) == msgspec.structs.replace(BASE, score_threshold=0)


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), np.array(0.25)])
def test_scalars_of_numpy_are_numbers(value):
    found = changed(RAW, BASE, score_threshold=value).score_threshold
    assert found == 0.25 and type(found) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score_threshold": np.array([0.25])}, "score_threshold"),
        ({"max_detections": np.array([3])}, "max_detections"),
        ({"iou_threshold": "much"}, "iou_threshold much"),
        ({"max_candidates": 0}, "max_candidates 0"),
    ],
)
def test_what_is_no_threshold_is_named(given, message):
    with pytest.raises(OptionError, match=message):
        changed(RAW, BASE, **given)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"score_threshold": 0.4 - 0.5e-6, "iou_threshold": 0.5 + 0.5e-6, "max_detections": 50}, None),
        ({"score_threshold": 0.9, "iou_threshold": 0.5 - 0.5e-6, "max_detections": 1}, None),
        ({"score_threshold": 0.4 - 2e-6}, "score_threshold 0.399998"),
        ({"iou_threshold": 0.5 + 2e-6}, "iou_threshold 0.500002"),
        ({"iou_threshold": 0.5 - 2e-6}, "iou_threshold 0.499998"),
        ({"max_detections": 51}, "max_detections 51"),
    ],
)
def test_what_a_file_with_the_suppression_inside_can_follow(given, name):
    if name is None:
        assert changed(INSIDE, BASE, **given).max_detections == given["max_detections"]
        return
    with pytest.raises(OptionError, match=f"{name} is not possible"):
        changed(INSIDE, BASE, **given)


def test_a_millionth_is_the_bound():
    assert changed(INSIDE, BASE, score_threshold=0.4 - 1e-6).score_threshold < 0.4
    none = msgspec.structs.replace(BASE, iou_threshold=0.0)
    with pytest.raises(OptionError, match="iou_threshold 1e-06 is not possible"):
        changed(msgspec.structs.replace(INSIDE, defaults=none), none, iou_threshold=1e-6)
