import msgspec
import pytest

from edgessd import zoo
from edgessd.apps.benchmark.measure import measure_speed
from edgessd.apps.benchmark.plan import Wanted, plan
from edgessd.apps.benchmark.records import Task
from edgessd.errors import ModelError, OptionError

COMMON = Task(kind="speed", model="")


def engines(tasks):
    return [(task.engine, task.threads, task.batch) for task in tasks]


def test_all_takes_every_runtime_of_the_kind_and_each_gpu_once():
    tasks = plan(Wanted(models=(zoo.DEFAULT_MODEL,), threads=(1, 2)), COMMON)
    assert engines(tasks) == [
        ("onnx", 1, 1),
        ("onnx", 2, 1),
        ("onnx:cuda", None, 1),
        ("onnx:tensorrt", None, 1),
        ("openvino", 1, 1),
        ("openvino", 2, 1),
        ("openvino:gpu", None, 1),
        ("litert", 1, 1),
        ("litert", 2, 1),
    ]


@pytest.mark.parametrize(
    ("runtimes", "expected"),
    [
        (("cpu",), ["onnx", "openvino", "litert"]),
        (("onnx",), ["onnx"]),
        (("onnx:cpu", "onnx", "cpu"), ["onnx", "openvino", "litert"]),
        (("onnx:cuda", "litert"), ["onnx:cuda", "litert"]),
    ],
)
def test_runtimes_can_be_chosen(runtimes, expected):
    tasks = plan(Wanted(models=(zoo.DEFAULT_MODEL,), runtimes=runtimes, batches=(4,)), COMMON)
    assert [task.engine for task in tasks] == expected
    assert {task.batch for task in tasks} == {4}


def test_accuracy_is_measured_once_for_each_engine_and_before_the_times():
    common = Task(kind="speed", model="", data="somewhere")
    tasks = plan(Wanted(models=(zoo.DEFAULT_MODEL,), runtimes=("cpu",), threads=(1, 4), batches=(1, 8)), common)
    assert [(task.kind, task.engine, task.threads, task.batch) for task in tasks[:3]] == [
        ("accuracy", "onnx", 4, 1),
        ("accuracy", "openvino", 4, 1),
        ("accuracy", "litert", 4, 1),
    ]
    assert len(tasks) == 3 + 12
    assert all(task.kind == "speed" for task in tasks[3:])


def test_a_file_of_yolox_is_measured_by_its_prefix(tmp_path):
    (tmp_path / "y.onnx").write_bytes(b"")
    tasks = plan(Wanted(models=(f"yolox:{tmp_path}/y.onnx",), runtimes=("cpu",), threads=(1, 2)), COMMON)
    assert engines(tasks) == [("onnx:cpu", 1, 1), ("onnx:cpu", 2, 1)]


def test_a_damaged_file_is_a_task_whose_row_will_say_why(tmp_path):
    (tmp_path / "a.onnx").write_text("no model")
    tasks = plan(Wanted(models=(str(tmp_path / "a.onnx"),), threads=(1,)), COMMON)
    assert engines(tasks) == [("", 1, 1)]


@pytest.mark.parametrize(
    ("changes", "error", "part"),
    [
        ({"models": ("edgessd-cocoa",)}, ModelError, "did you mean"),
        ({"models": ("missing.onnx",)}, ModelError, "no model file"),
        ({"models": ("yolox:missing.onnx",)}, ModelError, "no model file missing.onnx"),
        ({"runtimes": ("onxx",)}, OptionError, "did you mean 'onnx'"),
        ({"runtimes": ("torch",)}, OptionError, "no combination is left"),
        ({"precisions": ("fp16",)}, OptionError, "no combination is left"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(changes, error, part):
    wanted = {"models": (zoo.DEFAULT_MODEL,), **changes}
    with pytest.raises(error, match=part):
        plan(Wanted(**wanted), COMMON)


def test_a_file_of_another_tool_is_measured_with_labels_beside_one_that_needs_none(tmp_path, make_tflite):
    stranger = tmp_path / "theirs.tflite"
    stranger.write_bytes(make_tflite.tiny_nms(text="", input_type="uint8"))
    wanted = Wanted(models=(zoo.DEFAULT_MODEL, str(stranger)), runtimes=("litert",), threads=(1,))
    assert engines(plan(wanted, COMMON)) == [("litert", 1, 1), ("", 1, 1)]  # the row will say what is missing
    names = tmp_path / "labels.txt"
    names.write_text("cat\ndog\n")
    tasks = plan(wanted, msgspec.structs.replace(COMMON, labels=str(names), images=(str(zoo.photos()[0]),), runs=2))
    assert engines(tasks) == [("litert", 1, 1), ("litert", 1, 1)]
    rows = [measure_speed(task) for task in tasks]
    assert [row.input for row in rows] == ["300x300", "8x4"] and all(row.stages["total"].median > 0 for row in rows)
    with pytest.raises(OptionError, match="no-such"):
        plan(wanted, msgspec.structs.replace(COMMON, labels="no-such"))
