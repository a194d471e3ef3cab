"""What all runtimes have in common: turns, the end, and errors of the engine."""

import threading
import time

import numpy as np
import pytest

import edgessd
from edgessd import Detector, zoo
from edgessd.errors import EdgeSSDError, EngineError, OptionError
from edgessd.runtimes import FakeRuntime, load_runtime

BLANK = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture(params=["onnx", "openvino", "litert", "fake"])
def runtime(request, tmp_path):
    """Each engine that is installed, with a tiny file."""
    if request.param == "fake":
        return FakeRuntime()
    if request.param == "litert":
        path = tmp_path / "model.tflite"
        path.write_bytes(request.getfixturevalue("make_tflite").tiny())
    else:
        pytest.importorskip(request.param)
        path = tmp_path / "model.onnx"
        path.write_bytes(request.getfixturevalue("make_onnx").onnx_graph().SerializeToString())
    return load_runtime(path, runtime=request.param, threads=1)


def batch_for(runtime, count=1):
    return np.zeros((count, *runtime.spec.input.tensor_shape), runtime.spec.input.dtype)


def test_the_end_is_the_same_everywhere(runtime):
    runtime.run(batch_for(runtime))
    detector = Detector(runtime)
    runtime.close()
    runtime.close()
    detector.close()
    for use in (lambda: runtime.run(batch_for(runtime)), lambda: detector(BLANK), lambda: detector([BLANK, BLANK])):
        with pytest.raises(EngineError, match="was closed: load the model again"):
            use()


def test_what_an_engine_raises_is_one_line_of_ours(runtime):
    if isinstance(runtime, FakeRuntime):
        pytest.skip("takes everything")
    narrow = batch_for(runtime)[:, :, :, :-1]
    with pytest.raises(EngineError, match="the model cannot be run: ") as caught:
        runtime.run(np.ascontiguousarray(narrow))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(runtime.name)
    assert len(Detector(runtime, score_threshold=0.5)(BLANK)) == 2  # it goes on


@pytest.mark.parametrize("level", ["raw", "decoded", "nms"])
def test_a_score_equal_to_the_threshold_goes_at_every_level_and_in_filter(make_onnx, tmp_path, level):
    path = tmp_path / "model.onnx"
    path.write_bytes(make_onnx.onnx_graph(level).SerializeToString())
    everything = Detector.load(path, "onnx", threads=1)
    found = everything(BLANK)
    assert len(found) == 2
    for score in found.scores:
        for threshold in (score, float(score)):
            expected = found.scores[found.scores > score].tolist()
            assert everything.with_options(score_threshold=threshold)(BLANK).scores.tolist() == expected
            assert found.filter(threshold).scores.tolist() == expected


@pytest.mark.parametrize("level", ["raw", "decoded", "nms"])
def test_no_classes_at_all_at_every_level(make_onnx, tmp_path, level):
    path = tmp_path / "model.onnx"
    path.write_bytes(make_onnx.onnx_graph(level).SerializeToString())
    detector = Detector.load(path, "onnx", threads=1)
    for use in (
        lambda: Detector.load(path, classes=[]),
        lambda: detector.with_options(classes=[]),
        lambda: edgessd.detect(BLANK, path, classes=[]),
        lambda: detector(BLANK).filter(classes=[]),
    ):
        with pytest.raises(OptionError, match="classes names none"):
            use()


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (RuntimeError("a\nb"), EngineError, "^fake: the model cannot be run: a b$"),
        (MemoryError(), EngineError, "^fake: the model cannot be run: MemoryError$"),
        (Exception("CUDA \x1b error"), EngineError, r"^fake: the model cannot be run: CUDA \? error$"),
        (OptionError("ours"), OptionError, "^ours$"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
def test_every_type_of_error_becomes_ours_and_ours_stay(error, expected, message):
    class Breaks(FakeRuntime):
        def infer(self, batch):
            raise error

    runtime = Breaks()
    with pytest.raises(expected, match=message):
        runtime.run(batch_for(runtime))


def test_two_detectors_over_one_runtime_take_turns():
    class Careful(FakeRuntime):
        thread_safe = False
        inside = most = 0

        def infer(self, batch):
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.002)
            self.inside -= 1
            return super().infer(batch)

    runtime = Careful()
    detectors = [Detector(runtime), Detector(runtime, score_threshold=0.5)]
    together([lambda each=each: each(BLANK) for each in detectors * 4])
    assert (runtime.most, runtime.calls) == (1, 8)


def test_two_detectors_over_one_tflite_runtime(make_tflite):
    runtime = load_runtime(zoo.resolve_model(runtime="litert"), threads=1)
    detectors = [Detector(runtime), Detector(runtime, score_threshold=0.6)]
    failures = []

    def work(detector):
        for _ in range(4):
            try:
                detector(BLANK)
            except EdgeSSDError as error:
                failures.append(error)

    together([lambda each=each: work(each) for each in detectors * 2])
    assert failures == []


def test_close_waits_for_the_thread_that_runs():
    begun, ended = threading.Event(), []

    class Slow(FakeRuntime):
        thread_safe = False

        def infer(self, batch):
            begun.set()
            time.sleep(0.02)
            ended.append("run")
            return super().infer(batch)

        def free(self):
            ended.append("free")

    runtime = Slow()
    thread = threading.Thread(target=runtime.run, args=(batch_for(runtime),))
    thread.start()
    begun.wait(5)
    runtime.close()
    thread.join()
    assert ended == ["run", "free"]


def together(tasks):
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
