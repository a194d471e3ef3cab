from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edgessd import Detector
from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.evaluation import detect_all
from edgessd.runtimes.fake import FakeRuntime

BOX, FAR = (0.1, 0.1, 0.6, 0.6), (0.7, 0.7, 0.9, 0.9)


@pytest.fixture
def detector():
    """It finds a cat, and a dog that only the thresholds of a metric let through."""
    runtime = FakeRuntime([("cat", 0.9, BOX), ("dog", 0.02, FAR)], classes=("cat", "dog"))
    runtime.spec = msgspec.structs.replace(runtime.spec, category_ids=(17, 18))
    return Detector(runtime)


@pytest.fixture
def truth(build, tmp_path):
    """Four pictures: the second and the third are not there, the third's size is known."""
    truth, _ = build([([], [])] * 4, ("cat", "dog"))
    for name in ("001.png", "004.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 20, 3), np.uint8))
    samples = [replace(sample, image=tmp_path / sample.image) for sample in truth.samples]
    samples[2] = replace(samples[2], size=(30, 40))
    return replace(truth, samples=tuple(samples))


def test_every_picture_in_order_and_nothing_for_those_that_cannot_be_read(detector, truth):
    done, reasons = [], []
    found = detect_all(detector, truth, "voc", progress=lambda *place: done.append(place), skipped=reasons.append)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [each.names for each in found] == [("cat", "dog"), (), (), ("cat", "dog")]
    assert [each.image_size for each in found] == [(20, 20), (1, 1), (30, 40), (20, 20)]
    assert {(each.classes, each.category_ids) for each in found} == {(("cat", "dog"), (17, 18))}
    assert len(reasons) == 2 and "002.png" in reasons[0] and "003.png" in reasons[1]


def test_the_detectors_own_thresholds_and_the_end_when_asked(detector, truth):
    asked = iter([False, True])
    found = detect_all(detector, truth.take([0, 3, 0]), None, stop=lambda: next(asked))
    assert [each.names for each in found] == [("cat",), ("cat",)]


def test_without_skipping_a_missing_picture_is_an_error(detector, truth):
    with pytest.raises(InputError, match=r"002\.png"):
        detect_all(detector, truth)
