import pytest
from msgspec.structs import replace

from edgessd import Detector
from edgessd.evaluation.protocols import under_protocol
from edgessd.runtimes.fake import FakeRuntime
from edgessd.spec import OutputSpec


def limits(detector):
    return detector.thresholds.score_threshold, detector.thresholds.iou_threshold, detector.thresholds.max_detections


@pytest.mark.parametrize(
    ("metric", "expected"), [("coco", (0.01, 0.6, 100)), ("voc", (0.01, 0.5, 200)), ("voc07", (0.01, 0.5, 200))]
)
def test_thresholds_of_each_metric_and_those_that_are_given(metric, expected):
    detector = Detector(FakeRuntime(classes=("a", "b")), score_threshold=0.7, iou_threshold=0.3, max_detections=7)
    score, iou, most = expected
    assert limits(under_protocol(detector, metric)) == expected
    assert limits(under_protocol(detector, metric, score_threshold=0.2)) == (0.2, iou, most)
    assert limits(under_protocol(detector, metric, iou_threshold=0.8)) == (score, 0.8, most)
    assert limits(under_protocol(detector, metric, max_detections=9)) == (score, iou, 9)


def test_a_file_with_the_suppression_inside_comes_back_as_it_is():
    runtime = FakeRuntime(classes=("a",))
    runtime.spec = replace(runtime.spec, output=OutputSpec(level="nms"))
    detector = Detector(runtime)
    assert under_protocol(detector, "coco") is detector
