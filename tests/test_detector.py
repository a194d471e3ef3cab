import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

import edgessd
from edgessd import Detector, zoo
from edgessd._cv2 import cv2
from edgessd.errors import EdgeSSDError, InputError, ModelError, OptionError
from edgessd.runtimes import FakeRuntime, FinalOutputs
from edgessd.spec import OutputSpec, Thresholds

BLANK = np.zeros((40, 60, 3), np.uint8)
CAT = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8))]
CLASSES = ("cat", "dog")


def fake(**options):
    return Detector(FakeRuntime(CAT, CLASSES), **options)


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), BLANK)
    return tmp_path


def test_one_picture_gives_detections_and_a_list_gives_a_list():
    detector = fake()
    assert detector(BLANK).names == ("cat",)
    assert [found.names for found in detector([BLANK, BLANK])] == [("cat",)] * 2
    assert detector([]) == []


def test_every_stage_is_timed(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 7.0, 15.0])  # seconds at the borders of the stages
    monkeypatch.setattr("edgessd.detector.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    timings = fake()(BLANK).timings
    assert timings == {"read": 1e3, "preprocess": 2e3, "run": 4e3, "postprocess": 8e3}
    assert list(timings) == ["read", "preprocess", "run", "postprocess"]


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 1), ({"score_threshold": 0.95}, 0), ({"classes": ["dog"]}, 0), ({"classes": ["cat"]}, 1)],
)
def test_options(options, count):
    assert len(fake(**options)(BLANK)) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold 1.5"),
        ({"iou_threshold": -1}, "iou_threshold -1"),
        ({"max_detections": 0}, "max_detections 0"),
        ({"classes": ["cta"]}, "did you mean 'cat'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        fake(**options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ("cat", "dog")),
        ({"score_threshold": 0.5}, ("cat",)),
        ({"max_detections": 1}, ("cat",)),
        ({"classes": ["dog"]}, ("dog",)),
        ({"score_threshold": 0.2, "iou_threshold": 0.6, "max_detections": 3}, ("cat", "dog")),
        ({"score_threshold": 0.1}, "score_threshold 0.1 is not possible: the file has 0.2 baked in"),
        ({"iou_threshold": 0.5}, "iou_threshold 0.5 is not possible: the file has 0.6 baked in"),
        ({"max_detections": 4}, "max_detections 4 is not possible: the file has 3 baked in"),
    ],
)
def test_thresholds_of_a_file_with_the_suppression_inside(options, names):
    class Final(FakeRuntime):
        def run(self, batch):
            boxes = np.array([[[0, 0, 0.5, 1], [0, 0, 0.5, 1], [0, 0, 0, 0]]], np.float32)
            scores, labels = np.array([[0.9, 0.4, 0]], np.float32), np.array([[0, 1, -1]])
            return FinalOutputs(boxes, scores, labels, np.array([2]))

    runtime = Final(classes=CLASSES)
    baked = Thresholds(score_threshold=0.2, iou_threshold=0.6, max_detections=3)
    runtime.spec = msgspec.structs.replace(runtime.spec, output=OutputSpec(level="nms"), defaults=baked)
    if isinstance(names, tuple):
        assert Detector(runtime, **options)(BLANK).names == names
    else:
        with pytest.raises(OptionError, match=names):
            Detector(runtime, **options)


def test_stream_over_a_folder(folder):
    frames = list(fake().stream(folder))
    assert [frame.source.rpartition("/")[2] for frame in frames] == ["a.jpg", "b.png"]
    assert all(frame.detections.names == ("cat",) for frame in frames)
    assert frames[0].image.shape == BLANK.shape


def test_stream_goes_on_past_a_broken_picture_where_failures_are_collected(folder):
    (folder / "aa.jpg").write_text("no picture")
    failures: list[EdgeSSDError] = []
    assert len(list(fake().stream(folder, failures))) == 2
    assert len(failures) == 1
    assert "aa.jpg" in str(failures[0])
    with pytest.raises(InputError, match=r"aa\.jpg"):
        list(fake().stream(folder))


def test_stream_over_a_video_gives_every_frame(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(12):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    frames = list(fake().stream(path))
    assert [frame.number for frame in frames] == list(range(12))


def test_the_bundled_model_finds_what_is_on_the_bundled_photos():
    best = {path.stem: edgessd.detect(path)[0].name for path in zoo.photos()}
    assert best == {"astronaut": "person", "chelsea": "cat", "coffee": "cup", "000000000086": "person"} or best == {
        "astronaut": "person",
        "chelsea": "cat",
        "coffee": "cup",
        "000000000086": "motorcycle",
    }


def test_the_bundled_model_puts_the_cat_where_it_is():
    # By eye: Chelsea's face and body fill the picture from left to right.
    found = edgessd.detect(zoo.photos()[0].parent / "chelsea.png").filter(classes=["cat"])
    x1, y1, x2, y2 = found.boxes[0]
    assert x1 < 60
    assert x2 > 380
    assert y2 - y1 > 200


def test_detect_keeps_the_loaded_model(monkeypatch):
    loads = []
    original = Detector.load.__func__
    monkeypatch.setattr(
        Detector, "load", classmethod(lambda cls, *args, **kwargs: loads.append(args) or original(cls, *args, **kwargs))
    )
    monkeypatch.setattr("edgessd.detector._cache", {})
    for _ in range(3):
        edgessd.detect(BLANK, score_threshold=0.5)
    edgessd.detect(BLANK, score_threshold=0.6)
    assert len(loads) == 2


def test_threads_may_share_a_detector():
    detector = Detector.load(threads=1)
    image = edgessd.load_image(zoo.photos()[0])
    expected = detector(image).boxes
    results = []
    threads = [threading.Thread(target=lambda: results.append(detector(image).boxes)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for boxes in results:
        np.testing.assert_array_equal(boxes, expected)


def test_unknown_model_names_are_answered_with_near_ones():
    with pytest.raises(ModelError, match="did you mean 'edgessd-coco'"):
        Detector.load("edgesd-coco")
    with pytest.raises(ModelError, match="no model file"):
        Detector.load("missing.onnx")
