"""OpenVINO files from finished graphs: names and description, without torch."""

import msgspec
import numpy as np
import pytest

from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.runtimes.openvino import OpenVinoRuntime
from edgessd.spec import InputSpec, OutputSpec
from edgessd.validation import validate

from .test_onnx_file import PRIORS, SIZE, SPEC, raw_graph

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")

from edgessd.export import onnx_layouts  # noqa: E402
from edgessd.export.openvino_file import model_info, write_openvino  # noqa: E402


def written(rng, path, output):
    logits = rng.normal(0, 2, (PRIORS.count, SPEC.num_logits)).astype(np.float32)
    offsets = rng.normal(0, 1, (PRIORS.count, 4)).astype(np.float32)
    spec = msgspec.structs.replace(SPEC, classes=("a", "traffic light", "c"))
    proto = raw_graph(onnx, spec, logits, offsets)
    final = onnx_layouts.raise_to(proto, spec, output)
    write_openvino(proto, final, path)
    return final, postprocess(RawOutputs(logits[None], offsets[None]), spec, SIZE)


@pytest.mark.parametrize(
    "output", [OutputSpec(), OutputSpec(level="nms"), OutputSpec(level="nms", layout="detections7")]
)
def test_a_file_answers_as_its_raw_outputs(tmp_path, rng, output):
    spec, expected = written(rng, tmp_path / "model.xml", output)
    assert [check.text for check in validate(tmp_path / "model.xml") if check.passed is False] == []
    runtime = OpenVinoRuntime(tmp_path / "model.xml", threads=1)
    assert runtime.spec == spec
    found = postprocess(runtime.run(np.zeros((1, *spec.input.tensor_shape), np.float32)), spec, SIZE)
    assert (found.labels == expected.labels).all() and len(expected.labels) > 3
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_model_api_finds_its_outputs(tmp_path, rng):
    """Each by a name with bboxes, scores or labels in it, of those that OpenVINO gives for an output."""
    written(rng, tmp_path / "model.xml", OutputSpec(level="nms"))
    model = openvino.Core().read_model(tmp_path / "model.xml")
    names = [output.get_any_name() for output in model.outputs]
    assert [[name for name in names if part in name] for part in ("bboxes", "scores", "labels")] == [
        ["bboxes"],
        ["scores"],
        ["labels"],
    ]
    assert model.get_rt_info(["model_info", "model_type"]).astype(str) == "SSD"
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "a traffic_light c"
    assert model.get_rt_info(["model_info", "reverse_input_channels"]).astype(str) == "YES"


def test_model_api_is_told_how_a_picture_becomes_an_input():
    """Its pictures are BGR; integer inputs take the pixels as they are."""
    tensor = InputSpec(width=20, height=10, mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375))
    info = model_info(msgspec.structs.replace(SPEC, input=tensor))
    assert info["mean_values"] == "123.675 116.28 103.53" and info["scale_values"] == "58.395 57.12 57.375"
    assert info["resize_type"] == "standard" and info["interpolation_mode"] == "LINEAR"
    assert info["confidence_threshold"] == "0.4"
    pixels = InputSpec(
        width=20,
        height=10,
        channels="BGR",
        resize="letterbox",
        interpolation="cubic",
        dtype="uint8",
        quantization_scale=1.0,
        quantization_zero_point=0,
    )
    info = model_info(msgspec.structs.replace(SPEC, input=pixels))
    assert not {"mean_values", "scale_values"} & set(info)
    assert (info["reverse_input_channels"], info["interpolation_mode"]) == ("NO", "CUBIC")
    assert (info["resize_type"], info["pad_value"]) == ("fit_to_window", "114")
