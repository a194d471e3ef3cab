import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

import edgessd
from edgessd import Detector, zoo
from edgessd._cv2 import cv2
from edgessd.errors import EdgeSSDError, InputError, ModelError, OptionError
from edgessd.evaluation.protocols import under_protocol
from edgessd.runtimes import FakeRuntime, FinalOutputs, RawOutputs
from edgessd.runtimes.cache import RuntimeCache
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
    clock = iter([0.0, 1.0, 3.0, 3.0, 7.0, 7.0, 15.0])  # seconds at the borders of the stages
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


def test_a_source_that_names_nothing_is_one_failure_among_others(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    sources = [folder / "a.jpg", tmp_path / "empty", "missing.jpg", str(tmp_path / "*.bmp"), 7, folder / "b.png"]
    failures: list[EdgeSSDError] = []
    frames = list(fake().stream(sources, failures))
    assert [frame.source.rpartition("/")[2] for frame in frames] == ["a.jpg", "b.png"]
    assert len(failures) == 4
    failures.clear()
    assert list(fake().stream([tmp_path / "empty"], failures)) == []
    assert len(failures) == 1
    for nothing in ([], [tmp_path / "empty"]):
        with pytest.raises(InputError):
            list(fake().stream(nothing))


@pytest.mark.parametrize("error", [RuntimeError("device lost"), ModelError("bad graph"), OptionError("batch of 4")])
def test_an_engine_that_breaks_ends_the_stream_and_is_no_failure_of_a_picture(folder, error):
    class Breaks(FakeRuntime):
        def infer(self, batch):
            if self.calls:
                raise error
            return super().infer(batch)

    failures: list[EdgeSSDError] = []
    stream = Detector(Breaks()).stream(["missing.jpg", folder], failures)
    assert next(stream).source.endswith("a.jpg")
    with pytest.raises(EdgeSSDError, match=str(error)):
        next(stream)
    assert len(failures) == 1


def test_other_options_over_the_same_runtime():
    one = fake(score_threshold=0.5, iou_threshold=0.6, max_detections=7, classes=["cat"])
    other = one.with_options(score_threshold=0.95)
    assert (other.runtime, other.classes) == (one.runtime, ("cat",))
    assert other.thresholds == Thresholds(score_threshold=0.95, iou_threshold=0.6, max_detections=7)
    assert one.thresholds.score_threshold == 0.5
    assert (len(one(BLANK)), len(other(BLANK))) == (1, 0)
    assert one.with_options(classes="dog").classes == ("dog",)
    assert one.with_options(classes=None).classes is None
    assert one.with_options().thresholds == one.thresholds
    for wrong in ({"score_threshold": 2}, {"classes": []}, {"classes": ["cta"]}):
        with pytest.raises(OptionError):
            one.with_options(**wrong)


@pytest.mark.parametrize("metric", ["coco", "voc", "voc07"])
def test_a_protocol_keeps_the_classes(metric):
    detector = under_protocol(fake(classes=["dog"]), metric, max_detections=3)
    assert detector.classes == ("dog",)
    assert (detector.thresholds.score_threshold, detector.thresholds.max_detections) == (0.01, 3)
    assert detector(BLANK).names == ()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.array, float])
def test_numbers_and_names_of_numpy_are_options(kind):
    detector = fake(
        score_threshold=kind(0.5), iou_threshold=kind(0.25), max_detections=np.int64(3), classes=np.array(["cat"])
    )
    assert detector.thresholds == Thresholds(score_threshold=0.5, iou_threshold=0.25, max_detections=3)
    for classes in (np.str_("cat"), np.array("cat"), np.array(["cat"], object), {"cat": 1}, ("cat", "cat")):
        assert detector.with_options(classes=classes).classes == ("cat",)
    assert len(detector(BLANK)) == 1


@pytest.mark.parametrize("empty", [[], (), np.array([], str), iter([]), {}])
def test_no_classes_at_all_is_one_clear_answer(empty):
    with pytest.raises(OptionError, match="classes names none"):
        fake(classes=empty)


@pytest.mark.parametrize("wrong", [[15], 15, [None], [["cat"]]])
def test_classes_that_are_no_names(wrong):
    with pytest.raises(OptionError):
        fake(classes=wrong)


@pytest.mark.parametrize("value", [float("nan"), "0.5", True, np.array([0.5]), 1.0001])
def test_thresholds_that_are_no_fractions(value):
    with pytest.raises(OptionError, match="score_threshold"):
        fake(score_threshold=value)


class Counts(FakeRuntime):
    """Notes how many pictures each run had, and what it answered depends on the picture."""

    def __init__(self, fixed_batch=None):
        super().__init__(CAT, CLASSES)
        self.fixed_batch, self.sizes = fixed_batch, []

    def infer(self, batch):
        self.sizes.append(len(batch))
        logits, offsets = super().infer(batch)
        return RawOutputs(logits + batch.mean(axis=(1, 2, 3))[:, None, None], offsets)


@pytest.mark.parametrize(("fixed", "sizes"), [(None, [8, 3]), (1, [1] * 11)])
def test_a_list_runs_in_batches_with_the_results_of_one_by_one(rng, fixed, sizes):
    pictures = [np.full((20 + k, 30, 3), 20 * k, np.uint8) for k in range(11)]
    detector = Detector(Counts(fixed), score_threshold=0.1)
    found = detector(tuple(pictures))
    assert detector.runtime.sizes == sizes
    for one, picture in zip(found, pictures, strict=True):
        alone = detector(picture)
        assert one.image_size == alone.image_size == (30, len(picture))
        np.testing.assert_array_equal(one.boxes, alone.boxes)
        np.testing.assert_array_equal(one.scores, alone.scores)
        assert list(one.timings) == ["read", "preprocess", "run", "postprocess"]
    assert len({float(one.scores[0]) for one in found}) > 5


def test_a_batch_is_bounded_in_bytes():
    runtime = Counts()
    runtime.spec = msgspec.structs.replace(
        runtime.spec, input=msgspec.structs.replace(runtime.spec.input, width=1024, height=1024)
    )
    assert len(Detector(runtime)([BLANK] * 3)) == 3
    assert runtime.sizes == [1, 1, 1]


def test_the_bundled_model_answers_a_list_as_one_by_one():
    detector = Detector.load(threads=1)
    pictures = [edgessd.load_image(path) for path in zoo.photos()]
    for one, picture in zip(detector(pictures), pictures, strict=True):
        alone = detector(picture)
        np.testing.assert_array_equal(one.boxes, alone.boxes)
        np.testing.assert_array_equal(one.scores, alone.scores)
        np.testing.assert_array_equal(one.labels, alone.labels)


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


def test_detect_loads_once_whatever_the_thresholds_and_classes(monkeypatch):
    loads = []
    runtime = FakeRuntime(CAT, CLASSES)
    monkeypatch.setattr("edgessd.runtimes.cache.load_runtime", lambda *_, **__: loads.append(1) or runtime)
    monkeypatch.setattr("edgessd.detector._runtimes", RuntimeCache())
    assert edgessd.detect(BLANK).names == ("cat",)
    assert edgessd.detect(BLANK, score_threshold=0.95).names == ()
    assert edgessd.detect([BLANK, BLANK], classes=(name for name in ["dog"]))[1].names == ()
    assert edgessd.detect(BLANK, classes=(name for name in ["cat"])).names == ("cat",)
    assert len(loads) == 1


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
