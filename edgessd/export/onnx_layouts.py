"""Layouts of finished ONNX files, in place on an `onnx.ModelProto` as in `onnx_file`; they need onnx, and no torch.

    raise_to           any lower level -> a level and layout
    append_detections  level nms -> layout detections7
    append_opencv      level decoded -> layout opencv
    append_background  level decoded -> layout jetson
    spell_out_gates    what OpenCV misreads
    take_pixels        another normalisation of the input
    fix_batch          one picture at a time

B batch, P priors, C classes, K most detections of a picture.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from edgessd.errors import ModelError, OptionError
from edgessd.export.onnx_file import Nodes, append_decoding, append_suppression, check, expect_outputs
from edgessd.spec import LAYOUTS, OUTPUT_NAMES, InputSpec, ModelSpec, OutputSpec

OPENCV_OUTPUT = LAYOUTS["opencv"].names[0]


class Given(NamedTuple):
    """What a client makes of a picture: (p - mean) / scale, and what it calls the input (None: any name)."""

    channels: Literal["RGB", "BGR"]
    mean: float
    scale: float
    name: str | None = None


INPUTS = {
    "jetson": Given("RGB", 127.5, 127.5, "input_0"),  # detectNet's preprocessing of ONNX files
    "opencv": Given("BGR", 0.0, 1.0),  # DetectionModel's, where it is told nothing
}
"""The inputs of the layouts that are for one client only."""


def raise_to(proto: Any, spec: ModelSpec, output: OutputSpec) -> ModelSpec:
    """Put what is missing to the level and layout of `output` into a graph, in place; return its new spec.

    Layouts take one picture at a time, those of `INPUTS` as their client gives it.
    Raises ModelError where the graph has a higher level or another layout already, or does not fit its spec,
    OptionError where the layout is not for such a network.
    """
    levels = list(OUTPUT_NAMES)
    have, layout = spec.output.level, output.layout
    # OpenCV suppresses in a layer of its own, which takes the scores and boxes of every prior.
    below = "decoded" if layout == "opencv" else output.level
    if spec.output.layout != "standard" or levels.index(have) > levels.index(below):
        raise ModelError(f"the file is of level {spec.output.words}: it cannot become {output.words}")
    check_layout(layout, spec)
    if have == "raw" and below != "raw":
        append_decoding(proto, spec)
    if have != "nms" and below == "nms":
        append_suppression(proto, spec)
    if layout != "standard":
        fix_batch(proto)
    if layout == "opencv":
        spell_out_gates(proto)
    if layout in INPUTS:
        spec = msgspec.structs.replace(spec, input=take_pixels(proto, spec.input, INPUTS[layout]))
    if layout in _ARRANGE:
        _ARRANGE[layout](proto, spec)
    return msgspec.structs.replace(spec, output=output)


def check_layout(layout: str, spec: ModelSpec) -> None:
    """Raise OptionError for a network that the clients of a layout would run wrongly. `standard` takes all."""
    if layout != "standard" and spec.input.resize != "stretch":
        raise OptionError(f"layout {layout} is for networks that stretch pictures, as its clients do: use standard")
    if layout == "jetson" and spec.precision == "int8":
        raise OptionError("layout jetson is for float files: TensorRT takes int8 only where zero points are 0")
    tensor = spec.input
    if layout in INPUTS and (tensor.dtype, tensor.layout) != ("float32", "NCHW"):
        raise OptionError(f"layout {layout} is for float32 input NCHW, not {tensor.dtype} {tensor.layout}")


def append_detections(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph of level nms into one with the output `detections` [B, 1, K, 7] of layout detections7, in place.

    Frigate's OpenVINO detector stops at the first row with a low score, Model API leaves such rows out: behind the
    last detection stand image_id -1, label -1, score 0 and zeros.
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


def append_opencv(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph of level decoded into one of layout opencv, in place: [1, 1, K, 7] by OpenCV's DetectionOutput.

    `cv2.dnn_DetectionModel` wants a network whose last layer is that one, by its name alone. It is no operator of
    ONNX, so only OpenCV runs the file. OpenCV 4 calls the layer of a node NAME `onnx_node!NAME` and adds another
    layer behind it unless the output is called so; OpenCV 5 looks for a node of the output's name, and any will do.
    """
    from onnx import TensorProto, helper

    expect_outputs(proto, OUTPUT_NAMES["decoded"])
    priors, classes, limits = spec.priors.count, len(spec.classes), spec.defaults
    nodes = Nodes(proto, "opencv")
    constant, op = nodes.constant, nodes.op
    zero, one = constant("zero", 0.0, np.float32), constant("one", 1.0, np.float32)
    boxes = op("Clip", ["boxes", zero, one], "cut_boxes")
    corners = [constant(f"corner{i}", [i], np.int64) for i in (0, 2, 4)]
    axis = constant("last_axis", [2], np.int64)
    low, high = (op("Slice", [boxes, *corners[i : i + 2], axis], f"corner_{i}") for i in (0, 1))
    side = op("ReduceMin", [op("Sub", [high, low], "sides"), axis], "least_side", keepdims=1)
    solid = op("Clip", [op("Mul", [side, constant("much", 1e30, np.float32)], "much_side"), zero, one], "solid")
    scores = op("Mul", ["scores", solid], "solid_scores")
    places = op("Reshape", [boxes, constant("flat_boxes", [1, priors * 4], np.int64)], "places")
    confidences = op("Reshape", [scores, constant("flat_scores", [1, priors * classes], np.int64)], "confidences")
    proto.graph.node[-1].name = OPENCV_OUTPUT
    check(proto)
    layer = helper.make_node(
        "DetectionOutput",
        [places, confidences, constant("priors", np.zeros((1, 1, priors * 4)), np.float32)],
        [OPENCV_OUTPUT],
        name=OPENCV_OUTPUT.partition("!")[2],
        num_classes=classes,
        background_label_id=classes,  # none of them: -1 stands for all classes there
        share_location=1,
        code_type="CORNER",  # corners less those of the prior, which are 0
        variance_encoded_in_target=1,
        confidence_threshold=limits.score_threshold,
        nms_threshold=max(limits.iou_threshold, 1e-6),  # it takes no 0
        top_k=limits.max_candidates,
        keep_top_k=limits.max_detections,
    )
    proto.graph.node.append(layer)
    del proto.graph.output[:]
    shape = [1, 1, limits.max_detections, 7]
    proto.graph.output.append(helper.make_tensor_value_info(OPENCV_OUTPUT, TensorProto.FLOAT, shape))


def spell_out_gates(proto: Any) -> None:
    """Turn every HardSigmoid into Mul, Add and Clip, in place.

    OpenCV (4.10 to 5.0) takes any product with a HardSigmoid for a HardSwish, though it be the gate of another map
    (squeeze and excitation).
    """
    from onnx import helper

    graph = proto.graph
    nodes = Nodes(proto, "gate")
    for node in [node for node in graph.node if node.op_type == "HardSigmoid"]:
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        place, output, start = list(graph.node).index(node), node.output[0], len(graph.node)
        name = f"{output}_hard"
        factor = nodes.constant(f"{name}_factor", values.get("alpha", 0.2), np.float32)
        offset = nodes.constant(f"{name}_offset", values.get("beta", 0.5), np.float32)
        bounds = [nodes.constant(f"{name}_{i}", float(i), np.float32) for i in (0, 1)]
        line = nodes.op("Add", [nodes.op("Mul", [node.input[0], factor], f"{name}_scaled"), offset], f"{name}_line")
        made = [node.__class__.FromString(each.SerializeToString()) for each in graph.node[start:]]
        made.append(helper.make_node("Clip", [line, *bounds], [output], name=f"{name}_clip"))
        del graph.node[start:]
        del graph.node[place]
        for position, each in enumerate(made, place):
            graph.node.insert(position, each)
    check(proto)


def take_pixels(proto: Any, tensor: InputSpec, given: Given) -> InputSpec:
    """Let a graph with a float32 input NCHW take what a client makes of a picture, in place; return its new input."""
    graph = proto.graph
    old = graph.input[0].name
    name = given.name or old
    nodes = Nodes(proto, "given")
    mean, scale = (np.array(values)[None, :, None, None] for values in (tensor.mean, tensor.scale))
    factor, offset = given.scale / scale, (given.mean - mean) / scale
    inside = name
    start = len(graph.node)
    if tensor.channels != given.channels:
        order = nodes.constant("channels", [2, 1, 0], np.int64)
        inside = nodes.op("Gather", [inside, order], "reversed", axis=1)
    if not np.allclose(factor, 1, atol=1e-7):
        inside = nodes.op("Mul", [inside, nodes.constant("factor", factor, np.float32)], "scaled")
    if not np.allclose(offset, 0, atol=1e-7):
        inside = nodes.op("Add", [inside, nodes.constant("offset", offset, np.float32)], "shifted")
    made = [node.__class__.FromString(node.SerializeToString()) for node in graph.node[start:]]
    del graph.node[start:]
    for node in graph.node:
        for index, taken in enumerate(node.input):
            if taken == old:
                node.input[index] = inside
    for position, node in enumerate(made):
        graph.node.insert(position, node)
    graph.input[0].name = name
    check(proto)
    changed: tuple[tuple[float, float, float], ...] = ((given.mean,) * 3, (given.scale,) * 3)
    return msgspec.structs.replace(tensor, channels=given.channels, mean=changed[0], scale=changed[1])


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


_ARRANGE = {"detections7": append_detections, "opencv": append_opencv, "jetson": append_background}
