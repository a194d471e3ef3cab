"""Layouts of finished ONNX files, in place on an `onnx.ModelProto` as in `onnx_file`; they need onnx, and no torch.

    raise_to           any lower level -> a level and layout
    append_detections  level nms -> layout detections7
    append_background  level decoded -> layout jetson
    take_normalized    another normalisation of the input
    fix_batch          one picture at a time

B batch, P priors, C classes, K most detections of a picture.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from edgessd.errors import ModelError, OptionError
from edgessd.export.onnx_file import Nodes, append_decoding, append_suppression, check, expect_outputs
from edgessd.spec import LAYOUTS, OUTPUT_NAMES, InputSpec, ModelSpec, OutputSpec

JETSON_INPUT = "input_0"
JETSON_MEAN = JETSON_SCALE = (127.5, 127.5, 127.5)


def raise_to(proto: Any, spec: ModelSpec, output: OutputSpec) -> ModelSpec:
    """Put what is missing to the level and layout of `output` into a graph, in place; return its new spec.

    Layouts take one picture at a time; `jetson` takes it as jetson-inference gives it.
    Raises ModelError where the graph has a higher level or another layout already, or does not fit its spec,
    OptionError where the layout is not for such a network.
    """
    levels = list(OUTPUT_NAMES)
    have, want = levels.index(spec.output.level), levels.index(output.level)
    if spec.output.layout != "standard" or have > want:
        raise ModelError(f"the file is of level {spec.output.words}: it cannot become {output.words}")
    check_layout(output.layout, spec)
    if have < 1 <= want:
        append_decoding(proto, spec)
    if have < 2 <= want:
        append_suppression(proto, spec)
    if output.layout != "standard":
        fix_batch(proto)
    if output.layout == "detections7":
        append_detections(proto, spec)
    if output.layout == "jetson":
        append_background(proto, spec)
        spec = msgspec.structs.replace(spec, input=take_normalized(proto, spec.input))
    return msgspec.structs.replace(spec, output=output)


def check_layout(layout: str, spec: ModelSpec) -> None:
    """Raise OptionError for a network that the clients of a layout would run wrongly. `standard` takes all."""
    if layout != "standard" and spec.input.resize != "stretch":
        raise OptionError(f"layout {layout} is for networks that stretch pictures, as its clients do: use standard")
    if layout == "jetson" and spec.precision == "int8":
        raise OptionError("layout jetson is for float files: TensorRT takes int8 only where zero points are 0")


def append_detections(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph of level nms into one with the output `detections` [B, 1, K, 7] of layout detections7, in place.

    Frigate's OpenVINO detector stops at the first row with a low score, OpenCV and Model API leave out such rows:
    behind the last detection stand image_id -1, label -1, score 0 and zeros.
    """
    from onnx import TensorProto, helper

    expect_outputs(proto, OUTPUT_NAMES["nms"])
    nodes = Nodes(proto, "rows")
    constant, op = nodes.constant, nodes.op
    axis = constant("last_axis", [2], np.int64)
    label = op("Cast", ["labels"], "label_number", to=TensorProto.FLOAT)
    image = op("Min", [label, constant("first_image", 0.0, np.float32)], "image_id")
    columns = [
        op("Unsqueeze", [name, axis], f"{column}_column")
        for name, column in ((image, "image"), (label, "label"), ("scores", "score"))
    ]
    rows = op("Concat", [*columns, "boxes"], "rows", axis=2)
    op("Unsqueeze", [rows, constant("row_axis", [1], np.int64)], "detections")
    dimensions = proto.graph.output[0].type.tensor_type.shape.dim
    shape = [dimensions[0].dim_param or dimensions[0].dim_value, 1, dimensions[1].dim_value, 7]
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("detections", TensorProto.FLOAT, shape))
    check(proto)


def append_background(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph of level decoded into one of layout jetson, in place: scores [B, P, C + 1], background first.

    Its score is what the classes leave: of 1 less their sum (softmax), or less the best of them (sigmoid).
    """
    from onnx import TensorProto, helper

    expect_outputs(proto, OUTPUT_NAMES["decoded"])
    graph = proto.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "scores":
                    names[index] = "class_scores"
    nodes = Nodes(proto, "jetson")
    axis, one = nodes.constant("last_axis", [2], np.int64), nodes.constant("one", 1.0, np.float32)
    kind = "ReduceSum" if spec.scores == "softmax" else "ReduceMax"
    taken = nodes.op(kind, ["class_scores", axis], "taken", keepdims=1)
    nodes.op("Concat", [nodes.op("Sub", [one, taken], "background"), "class_scores"], "scores", axis=2)
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value, spec.priors.count, len(spec.classes) + 1]
    graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape))
    kept = [value for value in graph.value_info if value.name != "scores"]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    check(proto)


def take_normalized(proto: Any, tensor: InputSpec) -> InputSpec:
    """Let a graph with a float32 input NCHW take what jetson-inference gives, in place; return its new input.

    That is RGB in -1..1, (p - 127.5) / 127.5, under the name `input_0` (detectNet's preprocessing of ONNX files).
    """
    graph = proto.graph
    old = graph.input[0].name
    nodes = Nodes(proto, "jetson_input")
    mean, scale = (np.array(values)[None, :, None, None] for values in (tensor.mean, tensor.scale))
    factor, offset = JETSON_SCALE[0] / scale, (JETSON_MEAN[0] - mean) / scale
    inside = JETSON_INPUT
    start = len(graph.node)
    if tensor.channels == "BGR":
        order = nodes.constant("channels", [2, 1, 0], np.int64)
        inside = nodes.op("Gather", [inside, order], "reversed", axis=1)
    if not np.allclose(factor, 1, atol=1e-7):
        inside = nodes.op("Mul", [inside, nodes.constant("factor", factor, np.float32)], "scaled")
    if not np.allclose(offset, 0, atol=1e-7):
        inside = nodes.op("Add", [inside, nodes.constant("offset", offset, np.float32)], "shifted")
    made = [node.__class__.FromString(node.SerializeToString()) for node in graph.node[start:]]
    del graph.node[start:]
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = inside
    for position, node in enumerate(made):
        graph.node.insert(position, node)
    graph.input[0].name = JETSON_INPUT
    check(proto)
    return msgspec.structs.replace(tensor, channels="RGB", mean=JETSON_MEAN, scale=JETSON_SCALE)


def fix_batch(proto: Any) -> None:
    """Let a graph take one picture at a time, in place. Raises ModelError where it takes more."""
    for value in (*proto.graph.input, *proto.graph.output):
        size = value.type.tensor_type.shape.dim[0]
        if not size.dim_param and size.dim_value != 1:
            raise ModelError(f"the file takes {size.dim_value} pictures at a time: layouts for clients take one")
        size.dim_value = 1
    del proto.graph.value_info[:]
    check(proto)


def output_of(layout: str) -> OutputSpec:
    """Return the outputs of a layout."""
    return OutputSpec(level=LAYOUTS[layout].level, layout=layout)  # type: ignore[arg-type]
