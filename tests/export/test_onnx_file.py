"""Postprocessing in the ONNX graph against the package's own."""

import msgspec
import numpy as np
import pytest

from edgessd.errors import ModelError
from edgessd.export import onnx_file
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import explicit_priors
from edgessd.runtimes.onnx import OnnxRuntime
from edgessd.spec import CoderSpec, InputSpec, ModelSpec, OutputSpec, Thresholds

SIZE = (200, 100)
PRIORS = explicit_priors([(6, 5), (3, 3)], [[(0.3, 0.4), (0.7, 0.3)], [(0.6, 0.6)]])
SPEC = ModelSpec(
    name="random",
    input=InputSpec(width=20, height=10),
    classes=("a", "b", "c"),
    priors=PRIORS,
    coder=CoderSpec(center_variance=0.2, size_variance=0.3),
    defaults=Thresholds(score_threshold=0.4, iou_threshold=0.5, max_detections=12, max_candidates=8),
)


def raw_graph(onnx, spec, logits, offsets):
    """A graph that answers every picture with the same outputs; inner tensors have names that a level uses, too."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["low_corner"], keepdims=1),
        helper.make_node("Reshape", ["low_corner", "shape"], ["center"]),
        helper.make_node("Mul", ["center", "zero"], ["all"]),
        helper.make_node("Add", ["all", "logit_table"], ["logits"]),
        helper.make_node("Add", ["all", "offset_table"], ["offsets"]),
    ]
    constants = {"axes": np.array([1, 2, 3]), "shape": np.array([-1, 1, 1]), "zero": np.zeros(1, np.float32)}
    constants |= {"logit_table": logits[None], "offset_table": offsets[None]}
    outputs = [("logits", spec.num_logits), ("offsets", 4)]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("image", types.FLOAT, ["B", *spec.input.tensor_shape])],
        [helper.make_tensor_value_info(n, types.FLOAT, ["B", spec.priors.count, width]) for n, width in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(proto, spec, path):
    onnx_file.describe(proto, spec)
    path.write_bytes(proto.SerializeToString())
    runtime = OnnxRuntime(path, threads=1)
    return runtime.run(np.zeros((2, *spec.input.tensor_shape), np.float32))


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
@pytest.mark.parametrize("boundary", [False, True])
def test_both_levels_do_what_postprocess_does(tmp_path, rng, scores, boundary):
    onnx = pytest.importorskip("onnx")
    priors = msgspec.structs.replace(PRIORS, exclude_boundary=boundary)
    spec = msgspec.structs.replace(SPEC, scores=scores, priors=priors)
    logits = rng.normal(0, 2, (priors.count, spec.num_logits)).astype(np.float32)
    offsets = rng.normal(0, 1, (priors.count, 4)).astype(np.float32)
    offsets[3] = 60  # a size beyond the bound
    expected = postprocess(RawOutputs(logits[None], offsets[None]), spec, SIZE)
    assert 3 < len(expected.scores) <= 12
    proto = raw_graph(onnx, spec, logits, offsets)

    onnx_file.append_decoding(proto, spec)
    decoded = msgspec.structs.replace(spec, output=OutputSpec(level="decoded"))
    found = postprocess(run(proto, decoded, tmp_path / "decoded.onnx"), decoded, SIZE, picture=1)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)

    onnx_file.append_suppression(proto, decoded)
    final = msgspec.structs.replace(spec, output=OutputSpec(level="nms"))
    found = postprocess(run(proto, final, tmp_path / "final.onnx"), final, SIZE, picture=1)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_a_graph_of_another_level_is_refused(rng):
    onnx = pytest.importorskip("onnx")
    logits, offsets = rng.normal(size=(PRIORS.count, 4)), rng.normal(size=(PRIORS.count, 4))
    proto = raw_graph(onnx, SPEC, logits.astype(np.float32), offsets.astype(np.float32))
    with pytest.raises(ModelError, match="returns logits, offsets, not scores and boxes"):
        onnx_file.append_suppression(proto, SPEC)
    onnx_file.append_decoding(proto, SPEC)
    with pytest.raises(ModelError, match="returns scores, boxes, not logits and offsets"):
        onnx_file.append_decoding(proto, SPEC)
