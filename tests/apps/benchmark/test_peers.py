import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.apps.benchmark.paper import add_published, paper_tasks
from edgessd.apps.benchmark.peers import FASTER_RCNN, SSD300, SSD512, YOLOX, is_peer, open_peer
from edgessd.apps.benchmark.records import PAPER, Report, Row, Task
from edgessd.errors import ModelError, OptionError
from edgessd.ops.boxes import iou_matrix

COMMON = Task(kind="speed", model="", images=("a.jpg",), runs=5)


def test_yolox_finds_what_is_on_the_photos(shared):
    with open_peer(f"{YOLOX}{shared / 'weights' / 'yolox_nano.onnx'}", "cpu", 1, {}) as detector:
        found = {photo.stem: detector(photo) for photo in zoo.photos()}
    assert found["chelsea"].names[0] == "cat"
    assert {"person", "motorcycle"} <= set(found["000000000086"].names)
    ours = Detector.load(threads=1)(zoo.photos()[0].parent / "coffee.png")
    assert (ours.names[0], found["coffee"].names[0]) == ("cup", "cup")
    assert iou_matrix(ours.boxes[:1], found["coffee"].boxes[:1]) > 0.7  # the letterbox is undone


def test_a_batch_of_yolox_is_run_picture_by_picture(shared):
    with open_peer(f"{YOLOX}{shared / 'weights' / 'yolox_nano.onnx'}", "cpu", 1, {}) as detector:
        pictures = np.random.default_rng(0).uniform(0, 255, (2, 3, 416, 416)).astype(np.float32)
        both = detector.runtime.run(pictures)
        second = detector.runtime.run(pictures[1:])
    assert both.scores.shape == (2, 3549, 80)
    np.testing.assert_array_equal(both.boxes[1], second.boxes[0])


def test_another_file_is_not_taken_for_yolox():
    with pytest.raises(ModelError, match="no YOLOX file"):
        open_peer(f"{YOLOX}{zoo.resolve_model()}", "cpu", 1, {})
    with pytest.raises(OptionError, match="cuda"):
        open_peer(f"{YOLOX}{zoo.resolve_model()}", "cuda", 1, {})


def test_names():
    assert is_peer(SSD300)
    assert is_peer(YOLOX + "a.onnx")
    assert not is_peer("ssd300.onnx")
    pytest.importorskip("torch")
    with pytest.raises(OptionError, match="unknown detector"):
        open_peer("paper:SSD1", "cpu", 1, {})


def test_the_shift_of_the_background_lets_the_wanted_number_pass(rng):
    pytest.importorskip("torch")
    from edgessd.models.paper import background_shift

    logits = rng.normal(size=(8732, 21)).astype(np.float32)
    shifted = logits.copy()
    shifted[:, 0] += background_shift(logits, 0.01, 300)
    scores = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    assert abs(int((scores[:, 1:] > 0.01).sum()) - 300) <= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of torch's own modules
@pytest.mark.parametrize("name", [SSD300, FASTER_RCNN])
def test_networks_of_the_paper_run_through_the_detector(name):
    torch = pytest.importorskip("torch")
    with open_peer(name, "cpu", 1, {}) as detector:
        found = detector(zoo.photos()[0])
        assert found.boxes.shape == (len(found), 4)
        assert len(detector.spec.classes) == 20
        if name == SSD300:
            assert 1 <= len(found) <= 200
            assert detector.spec.priors.count == 8732
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="no CUDA device"):
            open_peer(name, "cuda-fp16", None, {})


def test_the_tasks_of_the_paper():
    tasks = paper_tasks(COMMON, (None,), (1, 8), "y.onnx")
    assert {task.model for task in tasks} == {SSD300, SSD512, FASTER_RCNN, "yolox:y.onnx"}
    assert [(task.engine, task.batch) for task in tasks if task.model == SSD512] == [
        (engine, batch) for engine in ("torch", "torch:cuda", "torch:cuda-fp16") for batch in (1, 8)
    ]
    with_data = paper_tasks(Task(kind="speed", model="", data="set"), (1,), (1,), "y.onnx")
    assert [task.model for task in with_data if task.kind == "accuracy"] == ["yolox:y.onnx"]


def test_published_figures_stand_beside_the_measured_ones():
    report = Report(rows=[Row(model=SSD300, runtime="torch", rate=3.0), Row(model=FASTER_RCNN, runtime="torch")])
    add_published(report)
    published = {(row.model, row.batch): row for row in report.rows if row.machine == PAPER}
    # Liu et al. 2016, table 7.
    assert (published["SSD300", 8].rate, published["SSD300", 8].boxes) == (59, 8732)
    assert published["SSD512", 1].accuracy == {"VOC07 mAP": 76.8}
    assert (published["Faster R-CNN (VGG16)", 1].rate, published["Fast YOLO", 1].rate) == (7, 155)
    assert published["YOLO (VGG16)", 1].input == "448x448"
    assert "not in table 7" in published["Fast R-CNN (VGG16)", 1].notes[0]
    assert "random weights" in report.rows[0].notes[0]
    assert report.machines[-1].name == PAPER
