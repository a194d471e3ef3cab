"""Tiny ONNX graphs of every level, for tests; they need onnx."""

import numpy as np
import pytest

from edgessd.ops.priors import explicit_priors
from edgessd.spec import METADATA_KEY, InputSpec, ModelSpec, OutputSpec, Thresholds

SPEC = ModelSpec(
    name="tiny",
    input=InputSpec(width=8, height=4, scale=(255.0,) * 3),
    classes=("a", "traffic light"),
    priors=explicit_priors([(1, 2)], [[(0.5, 1.0)]]),
    scores="sigmoid",
)
LOGITS = np.array([[2, -9], [-9, 1]], np.float32)
ANSWERS = {
    "raw": {"logits": LOGITS[None], "offsets": np.zeros((1, 2, 4), np.float32)},
    "decoded": {
        "scores": 1 / (1 + np.exp(-LOGITS[None])),
        "boxes": np.array([[[0, 0, 0.5, 1], [0.5, 0, 1, 1]]], np.float32),
    },
    "nms": {
        "boxes": np.array([[[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 0, 0]]], np.float32),
        "scores": 1 / (1 + np.exp([[-2, -1, np.inf]], dtype=np.float32)),
        "labels": np.array([[0, 1, -1]], np.int64),
        "count": np.array([2], np.int64),
    },
}


def level_spec(level):
    return ModelSpec(
        name=SPEC.name,
        input=SPEC.input,
        classes=SPEC.classes,
        priors=SPEC.priors,
        scores="sigmoid",
        output=OutputSpec(level=level),
        defaults=Thresholds(score_threshold=0.25, iou_threshold=0.5, max_detections=3),
    )


def onnx_graph(level="raw", spec=None, *, changes=None, names=None, half=False):
    """An ONNX graph of any level that answers every picture with the same two objects.

    changes: arrays instead of those of ANSWERS. names: of metadata entries instead of the usual two.
    half: the constants are float16, cast to float32 at the end, as in fp16 files.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    spec = spec or level_spec(level)
    nodes, outputs, constants = [], [], {"zero": np.zeros(1, np.float32)}
    nodes.append(helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))  # [B] zeros
    for name, value in {**ANSWERS[level], **(changes or {})}.items():
        constants[f"{name}_table"] = value.astype(np.float16) if half and value.dtype.kind == "f" else value
        start = f"{name}_table"
        if half and value.dtype.kind == "f":
            nodes.append(helper.make_node("Cast", [start], [f"{name}_wide"], to=TensorProto.FLOAT))
            start = f"{name}_wide"
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        nodes.append(helper.make_node("Cast", ["nothing"], [f"{name}_zero"], to=kind))
        constants[f"{name}_axes"] = np.arange(1, value.ndim)
        unsqueezed = f"{name}_zero"
        if value.ndim > 1:
            nodes.append(helper.make_node("Unsqueeze", [unsqueezed, f"{name}_axes"], [f"{name}_zeros"]))
            unsqueezed = f"{name}_zeros"
        nodes.append(helper.make_node("Add", [start, unsqueezed], [name]))
        outputs.append(helper.make_tensor_value_info(name, kind, ["batch", *value.shape[1:]]))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 8])],
            outputs,
            [numpy_helper.from_array(value, name) for name, value in constants.items() if value is not None],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    labels = '{"0": "a", "1": "traffic light"}'
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json(), "names": labels} if names is None else names)
    return model
