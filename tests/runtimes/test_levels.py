"""Every level gives the same detections, in onnxruntime and in OpenVINO."""

import msgspec
import numpy as np
import pytest

from edgessd import Detector
from edgessd._openvino import import_openvino
from edgessd.errors import DependencyError, ModelError, OptionError, SpecError
from edgessd.runtimes import DecodedOutputs, FinalOutputs, RawOutputs, load_runtime
from edgessd.runtimes.openvino import choose_device
from edgessd.spec import METADATA_KEY, OutputSpec, Thresholds

KINDS = {"raw": RawOutputs, "decoded": DecodedOutputs, "nms": FinalOutputs}
BLANK = np.zeros((40, 60, 3), np.uint8)
ENGINES = ["onnx", "openvino", "xml"]


@pytest.fixture
def load(tmp_path, make_onnx):
    """Write a graph and load it into an engine; `xml` goes through a file of OpenVINO's own."""

    def function(engine, level="raw", *, keep=("xml", "bin"), **changes):
        path = tmp_path / "model.onnx"
        path.write_bytes(make_onnx.onnx_graph(level, **changes).SerializeToString())
        if engine == "onnx":
            return path, {}
        pytest.importorskip("openvino")
        openvino = import_openvino()
        if engine == "openvino":
            return path, {"runtime": "openvino"}
        model = openvino.Core().read_model(str(path))
        spec = changes.get("spec") or make_onnx.level_spec(level)
        model.set_rt_info(spec.to_json(), METADATA_KEY.split("."))
        model.set_rt_info("a traffic_light", ["model_info", "labels"])
        openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=changes.get("half", False))
        if "bin" not in keep:
            (tmp_path / "model.bin").unlink()
        return tmp_path / "model.xml", {}

    return function


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("level", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_level_gives_the_same_detections(load, make_onnx, engine, level, half):
    path, options = load(engine, level, half=half)
    with Detector.load(path, threads=1, **options) as detector:
        assert detector.spec == make_onnx.level_spec(level)
        assert detector.runtime.name.startswith("onnxruntime" if engine == "onnx" else "openvino")
        outputs = detector.runtime.run(np.zeros((2, 3, 4, 8), np.float32))
        assert type(outputs) is KINDS[level]
        for name, array in zip(detector.spec.output.names, outputs, strict=True):
            expected = make_onnx.ANSWERS[level][name]
            np.testing.assert_allclose(array, np.concatenate([expected, expected]), rtol=2e-3 if half else 1e-6)
        found = detector(BLANK)
    assert found.names == ("a", "traffic light")
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 40], [30, 0, 60, 40]], atol=0.05 if half else 1e-4)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-2, -1])), rtol=2e-3 if half else 1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("level", "changes", "message"),
    [
        ("raw", {"logits": np.zeros((1, 3, 2), np.float32)}, r"logits have shape \[B, 3, 2\]|logits have shape"),
        ("decoded", {"scores": np.zeros((1, 2, 3), np.float32)}, "scores have shape"),
        ("decoded", {"boxes": np.zeros((1, 2, 5), np.float32)}, "boxes have shape"),
        ("nms", {"boxes": np.zeros((1, 4, 4), np.float32)}, "boxes have shape"),
        ("nms", {"labels": np.zeros((1, 2), np.int64)}, "labels have shape"),
        ("nms", {"count": np.zeros((1, 1), np.int64)}, "count have shape"),
    ],
)
def test_shapes_are_held_against_the_spec(load, engine, level, changes, message):
    path, options = load(engine, level, changes=changes)
    with pytest.raises(SpecError, match=message):
        load_runtime(path, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_types_are_held_against_the_spec(load, engine):
    path, options = load(engine, "nms", changes={"labels": np.zeros((1, 3), np.float32)})
    with pytest.raises(SpecError, match="labels are float32, not integers"):
        load_runtime(path, **options).run(np.zeros((1, 3, 4, 8), np.float32))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_that_lies_in_its_outputs_finds_nothing_where_it_lies(load, engine):
    lies = {
        "count": np.array([2**40], np.int64),
        "labels": np.array([[7, -3, 1]], np.int64),
        "scores": np.array([[0.9, 0.8, 0.7]], np.float32),
        "boxes": np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [-9, -9, 9, 9]]], np.float32),
    }
    path, options = load(engine, "nms", changes=lies)
    found = Detector.load(path, **options)(BLANK)
    assert found.names == ("traffic light",)
    assert found.boxes.tolist() == [[0, 0, 60, 40]]


@pytest.mark.parametrize("engine", ENGINES)
def test_thresholds_baked_into_a_graph(load, engine):
    path, options = load(engine, "nms")
    assert Detector.load(path, score_threshold=0.8, **options)(BLANK).names == ("a",)
    for wrong in ({"score_threshold": 0.2}, {"iou_threshold": 0.45}, {"max_detections": 4}):
        with pytest.raises(OptionError, match="baked in"):
            Detector.load(path, **wrong, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_names_of_outputs_are_held_against_the_spec(load, make_onnx, engine):
    spec = msgspec.structs.replace(make_onnx.SPEC, output=OutputSpec(names=("x", "offsets")))
    path, options = load(engine, spec=spec)
    with pytest.raises(SpecError, match=r"names the outputs \('x', 'offsets'\)"):
        load_runtime(path, **options)


def test_an_openvino_file_needs_its_weights_beside_it(load):
    with pytest.raises(ModelError, match=r"weights in model\.bin, which is not beside it"):
        load_runtime(load("xml", keep=("xml",))[0])


def test_an_openvino_file_without_a_spec(load, make_onnx):
    path, _ = load("xml")
    text = path.read_text().replace("<edgessd>", "<other>").replace("</edgessd>", "</other>")
    path.write_text(text)
    with pytest.raises(SpecError, match="no edgessd spec"):
        load_runtime(path)
    assert load_runtime(path, spec=make_onnx.SPEC).run(np.zeros((1, 3, 4, 8), np.float32))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_openvino_files_are_refused(load, share):
    path, _ = load("xml")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match="truncated or damaged"):
        load_runtime(path)
    path.write_bytes(data)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * share)])
    with pytest.raises(ModelError, match="cannot be loaded by OpenVINO"):
        load_runtime(path)


def test_openvinos_devices():
    assert choose_device(None, ["CPU"]) == "CPU"
    assert choose_device("gpu", ["CPU", "GPU.0", "GPU.1"]) == "GPU"
    assert choose_device(["gpu.1", "cpu"], ["CPU", "GPU.0", "GPU.1"]) == "AUTO:GPU.1,CPU"
    with pytest.raises(OptionError, match="no device 'cuda' here, only cpu"):
        choose_device("cuda", ["CPU"])


def test_openvino_without_its_package(load, monkeypatch):
    path, _ = load("xml")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[openvino\]'"):
        load_runtime(path)


def test_openvino_takes_fixed_batches_as_they_are(load, make_onnx, tmp_path):
    pytest.importorskip("openvino")
    model = make_onnx.onnx_graph()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 2
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    for engine in ("onnx", "openvino"):
        runtime = load_runtime(path, runtime=engine)
        assert len(runtime.run(np.zeros((2, 3, 4, 8), np.float32)).logits) == 2
        with pytest.raises(OptionError, match="batches of 2, not 1"):
            runtime.run(np.zeros((1, 3, 4, 8), np.float32))


def test_labels_are_refused_where_they_mean_nothing(load):
    for engine in ENGINES:
        path, options = load(engine)
        with pytest.raises(OptionError, match="labels are for TFLite files"):
            load_runtime(path, labels=["a", "b"], **options)


def test_a_spec_given_takes_the_place_of_the_files_own(load, make_onnx):
    other = msgspec.structs.replace(make_onnx.SPEC, classes=("x", "y"), defaults=Thresholds(score_threshold=0.75))
    for engine in ENGINES:
        path, options = load(engine)
        assert Detector.load(path, spec=other, **options)(BLANK).names == ("x",)
