import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.apps.benchmark import measure, process
from edgessd.apps.benchmark.measure import measure_speed, one_batch, read_pictures, remarks
from edgessd.apps.benchmark.records import STAGES, Sensors, Task
from edgessd.errors import EdgeSSDError, OptionError
from edgessd.runtimes.fake import FakeRuntime

PHOTOS = tuple(map(str, zoo.photos()))
ANSWERS = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8))]


@pytest.fixture
def fake(monkeypatch):
    """The worker's engine is a fake one; the batches it gets are listed."""
    runtime = FakeRuntime(ANSWERS, classes=("cat", "dog"))
    batches = []
    run = runtime.run
    monkeypatch.setattr(runtime, "run", lambda batch: (batches.append(batch.shape), run(batch))[1])
    monkeypatch.setattr(measure, "load", lambda task: Detector(runtime))
    return batches


def test_a_row_has_every_figure(fake):
    row = measure_speed(Task(kind="speed", model=zoo.DEFAULT_MODEL, images=PHOTOS, runs=12, warmup=3))
    assert (row.status, row.runs) == ("ok", 12)
    assert tuple(row.stages) == STAGES
    parts = sum(row.stages[stage].median for stage in STAGES[1:-1])
    assert 0 < parts <= 1.5 * row.stages["total"].median
    assert row.stages["total"].median <= row.stages["total"].p90 <= row.stages["total"].p99
    assert min(row.first, row.load, row.rate, row.size) > 0
    assert row.rate == pytest.approx(1e3 / row.stages["total"].median, rel=0.9)
    assert len(fake) == 1 + 3 + 12


def test_times_of_a_batch_are_for_one_picture(fake):
    task = Task(kind="speed", model=zoo.DEFAULT_MODEL, images=PHOTOS, runs=10, warmup=1, batch=8)
    assert measure_speed(task).batch == 8
    assert {shape[0] for shape in fake} == {8}


def test_a_batch_is_computed_as_the_detector_computes_it():
    images, _ = read_pictures(PHOTOS[:2])
    detector = Detector.load(threads=1)
    found = [detector(image) for image in images]
    seen = []
    original = measure.postprocess

    def spy(*arguments, **options):
        seen.append(original(*arguments, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "postprocess", spy)
        times = one_batch(detector, images)
    for ours, theirs in zip(seen, found, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert times["total"] == pytest.approx(times["preprocess"] + times["run"] + times["postprocess"])


def test_slow_combinations_end_early_but_not_before_ten_runs(fake):
    row = measure_speed(Task(kind="speed", model=zoo.DEFAULT_MODEL, images=PHOTOS[:1], runs=500, seconds=0.0))
    assert row.runs == 10


def test_unreadable_pictures_are_left_out_unless_they_are_all(tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    images, times = read_pictures([str(tmp_path / "a.jpg"), PHOTOS[0]])
    assert len(images) == len(times) == 1
    with pytest.raises(EdgeSSDError, match=r"a\.jpg"):
        read_pictures([str(tmp_path / "a.jpg")])


@pytest.mark.parametrize(
    ("totals", "before", "after", "words"),
    [
        ([10.0] * 30, Sensors(), Sensors(), []),
        ([10.0] * 20 + [14.0] * 10, Sensors(), Sensors(), ["slower"]),
        ([14.0] * 10 + [10.0] * 20, Sensors(), Sensors(), []),
        ([10.0, 10.0, 10.0, 10.0, 40.0] * 6, Sensors(), Sensors(), ["noisy"]),
        ([10.0] * 30, Sensors(throttled=2), Sensors(throttled=5), ["throttled"]),
        ([10.0] * 30, Sensors(throttled=2), Sensors(throttled=2), []),
        ([10.0], Sensors(), Sensors(throttled=2), []),
    ],
)
def test_remarks(totals, before, after, words):
    assert [note.partition(":")[0] for note in remarks(totals, before, after)] == words


def test_a_device_that_quietly_becomes_the_processor_is_refused(monkeypatch):
    runtime = FakeRuntime(ANSWERS, classes=("cat", "dog"))
    runtime.name = "onnxruntime (cpu)"
    monkeypatch.setattr(Detector, "load", classmethod(lambda *_, **__: Detector(runtime)))
    with pytest.raises(OptionError, match="cuda cannot start here"):
        measure.load(Task(kind="speed", model="a", runtime="onnx", provider="cuda"))
    runtime.name = "onnxruntime (cuda)"
    assert measure.load(Task(kind="speed", model="a", runtime="onnx", provider="cuda"))


def test_memory_of_this_process():
    resident, peak = process.resident_memory(), process.peak_memory()
    assert peak is not None
    assert 10 < peak < 100_000
    if resident is not None:
        big = np.ones(40_000_000)  # 320 MB
        assert process.peak_memory() > resident + 250
        assert big[-1] == 1


def test_size_of_an_openvino_model_counts_its_weights(tmp_path):
    (tmp_path / "a.xml").write_bytes(b"x" * 1000)
    (tmp_path / "a.bin").write_bytes(b"x" * 9000)
    assert measure.file_size(tmp_path / "a.xml") == pytest.approx(0.01)
