import json

import msgspec
import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.errors import DependencyError, EdgeSSDError, ModelError, OptionError, SpecError
from edgessd.ops.priors import explicit_priors
from edgessd.runtimes import load_runtime
from edgessd.runtimes.onnx import OnnxRuntime, choose_providers
from edgessd.spec import METADATA_KEY, InputSpec, ModelSpec, OutputSpec

SPEC = ModelSpec(
    name="tiny",
    input=InputSpec(width=8, height=4, scale=(255.0,) * 3),
    classes=("a", "b"),
    priors=explicit_priors([(1, 2)], [[(0.5, 1.0)]]),
    scores="sigmoid",
)
LOGITS = np.array([[2, -9], [-9, 1]], np.float32)


def graph(spec=SPEC, *, metadata=None, batch="batch", columns=2, names=("logits", "offsets"), shape=(3, 4, 8)):
    """Bytes of a graph that answers LOGITS plus the mean of the picture, and zero offsets."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    logits = np.resize(LOGITS, (1, 2, columns)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean4"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean4", "axis"], ["mean"]),
        helper.make_node("Add", ["mean", "table"], [names[0]]),
        helper.make_node("Mul", ["mean", "zeros"], [names[1]]),
    ]
    constants = {"axis": np.array([3]), "table": logits, "zeros": np.zeros((1, 2, 4), np.float32)}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *shape])],
            [
                helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [batch, 2, columns]),
                helper.make_tensor_value_info(names[1], TensorProto.FLOAT, [batch, 2, 4]),
            ],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    text = spec.to_json() if metadata is None else metadata
    if text:
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
    return model.SerializeToString()


@pytest.fixture
def file(tmp_path):
    def write(data=None, name="model.onnx", **changes):
        path = tmp_path / name
        path.write_bytes(graph(**changes) if data is None else data)
        return path

    return write


def test_a_file_runs_with_nothing_but_its_own_metadata(file):
    runtime = load_runtime(file(), threads=1)
    assert runtime.spec == SPEC
    assert runtime.name == "onnxruntime (cpu)"
    batch = np.stack([np.zeros((3, 4, 8), np.float32), np.ones((3, 4, 8), np.float32)])
    logits, offsets = runtime.run(batch)
    np.testing.assert_allclose(logits, np.stack([LOGITS, LOGITS + 1]))
    assert offsets.shape == (2, 2, 4)
    runtime.close()


def test_the_kind_comes_from_the_content_not_from_the_name(file):
    assert load_runtime(file(name="model.tflite")).spec == SPEC


def test_a_stranger_file_runs_with_a_spec_given(file, tmp_path):
    stranger = file(metadata="")
    with pytest.raises(SpecError, match=r"no edgessd spec.*--spec"):
        load_runtime(stranger)
    assert load_runtime(stranger, spec=SPEC).spec == SPEC
    described = tmp_path / "spec.json"
    described.write_text(SPEC.to_json())
    detector = Detector.load(stranger, spec=described, score_threshold=0.5)
    found = detector(np.zeros((10, 20, 3), np.uint8))
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.boxes, [[0, 0, 10, 10], [10, 0, 20, 10]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": "{}"}, "schema"),
        ({"metadata": json.dumps({**json.loads(SPEC.to_json()), "schema": 99})}, "upgrade edgessd"),
        ({"metadata": "x" * 10}, "cannot be read"),
        ({"columns": 3}, r"logits have shape.*\(2 classes, sigmoid\)"),
        ({"spec": msgspec.structs.replace(SPEC, classes=("a",))}, "does not belong to this file"),
        ({"spec": msgspec.structs.replace(SPEC, scores="softmax")}, "does not belong to this file"),
        ({"names": ("x", "offsets")}, r"names the outputs.*graph has \('x', 'offsets'\)"),
        ({"shape": (3, 8, 4)}, "spec says one float32 input"),
        ({"spec": msgspec.structs.replace(SPEC, output=OutputSpec(level="nms"))}, "names the outputs"),
    ],
)
def test_metadata_is_never_trusted(file, changes, message):
    with pytest.raises(ModelError, match=message):
        load_runtime(file(**changes))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am no model", "not a model file"),
        (b"PK\x03\x04" + b"\0" * 30, "pickled checkpoint"),
        (b"\x80\x02}q\x00.", "pickled checkpoint"),
        (b"\x08\x08\x12\x04abcd" + b"\xff" * 50, "truncated or damaged"),
    ],
)
def test_other_files_are_refused(file, data, message):
    with pytest.raises(ModelError, match=message):
        load_runtime(file(data))


def test_truncated_files_are_refused():
    pytest.importorskip("onnx")
    data = graph()
    for length in range(1, len(data), 37):
        with pytest.raises(EdgeSSDError):
            load_bytes(data[:length])


def load_bytes(data):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.onnx"
        path.write_bytes(data)
        return load_runtime(path)


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_truncated_bundled_model_is_refused(file, cut):
    data = zoo.resolve_model().read_bytes()
    with pytest.raises(ModelError):
        load_runtime(file(data[: int(len(data) * cut)]))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ModelError, match="no model file"):
        load_runtime(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load_runtime(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onx"}, "did you mean 'onnx'"),
        ({"runtime": "torch"}, "cannot load it"),
        ({"threads": 0}, "at least 1"),
        ({"providers": ["cuda9"]}, "not in this onnxruntime"),
    ],
)
def test_wrong_options_are_named(file, options, message):
    with pytest.raises(OptionError, match=message):
        load_runtime(file(), **options)


def test_a_fixed_batch_is_named(file):
    runtime = load_runtime(file(batch=2))
    assert runtime.run(np.zeros((2, 3, 4, 8), np.float32)).logits.shape == (2, 2, 2)
    with pytest.raises(OptionError, match="batches of 2, not 1"):
        runtime.run(np.zeros((1, 3, 4, 8), np.float32))


def test_providers():
    cpu, cuda, tensorrt = (name + "ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
    assert choose_providers(None, [tensorrt, cuda, cpu]) == [cuda, cpu]
    assert choose_providers(None, [cpu]) == [cpu]
    assert choose_providers(["tensorrt", "cuda"], [tensorrt, cuda, cpu]) == [tensorrt, cuda, cpu]
    assert choose_providers("cpu", [cuda, cpu]) == [cpu]


def test_spinning_can_be_switched_off(file):
    assert OnnxRuntime(file(), threads=2, allow_spinning=False).run(np.zeros((1, 3, 4, 8), np.float32))


def test_without_onnxruntime_the_pip_command_is_named(file, monkeypatch):
    path = file()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match="pip install onnxruntime"):
        load_runtime(path)
