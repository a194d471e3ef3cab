"""Changes to finished ONNX files, all of them in place on an `onnx.ModelProto`; they need onnx, and no torch.

    append_decoding     level raw -> decoded
    append_suppression  level decoded -> nms
    describe            the spec and the class names

B batch, P priors, C classes, K most detections of a picture. Everything is made from the spec's own tables
(`ops.priors`, `ops.boxes`) and does what `ops.postprocess` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgessd.errors import ModelError
from edgessd.ops.boxes import MAX_LOG_SIZE
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import METADATA_KEY, OUTPUT_NAMES, ModelSpec

CONTENTS = {
    "raw": "raw class logits and box offsets of every prior",
    "decoded": "scores and boxes of every prior",
    "nms": "final detections",
}


def append_decoding(proto: Any, spec: ModelSpec) -> None:
    """Turn a graph with logits and offsets [B, P, 4] into one with scores [B, P, C] and boxes [B, P, 4], in place.

    Scores have no background, and are 0 for priors that the spec leaves out (`exclude_boundary`). Boxes are xyxy in
    units of the input, not cut to it.
    """
    from onnx import TensorProto, helper

    logits, offsets = expect_outputs(proto, spec.output.names)
    nodes = Nodes(proto, "decode")
    constant, op = nodes.constant, nodes.op
    axis = constant("last_axis", [2], np.int64)

    def columns(name: str, first: int, end: int, output: str) -> str:
        begin, behind = constant(f"{output}_from", [first], np.int64), constant(f"{output}_to", [end], np.int64)
        return op("Slice", [name, begin, behind, axis], output)

    if spec.scores == "softmax":
        scores = columns(op("Softmax", [logits], "shares", axis=2), 1, spec.num_logits, "foreground")
    else:
        scores = op("Sigmoid", [logits], "sigmoid")
    inside = inside_mask(spec.priors) if spec.priors.exclude_boundary else np.ones(spec.priors.count, bool)
    if not inside.all():
        scores = op("Mul", [scores, constant("inside", inside[None, :, None], np.float32)], "scores_inside")
    priors = prior_boxes(spec.priors)[None]
    step = constant("steps", spec.coder.center_variance * priors[..., 2:], np.float32)
    moved = op("Mul", [columns(offsets, 0, 2, "center_offsets"), step], "moved")
    center = op("Add", [moved, constant("centers", priors[..., :2], np.float32)], "center")
    factor = constant("size_factor", spec.coder.size_variance, np.float32)
    logs = op("Mul", [columns(offsets, 2, 4, "size_offsets"), factor], "log_sizes")
    bounded = op("Min", [logs, constant("most_log_size", MAX_LOG_SIZE, np.float32)], "bounded_log_sizes")
    half = op("Mul", [op("Exp", [bounded], "growth"), constant("half_sizes", priors[..., 2:] / 2, np.float32)], "half")
    corners = [op("Sub", [center, half], "low_corner"), op("Add", [center, half], "high_corner")]
    boxes = op("Concat", corners, "corners", axis=2)
    batch = _batch(proto)
    del proto.graph.output[:]
    for source, name, width in ((scores, "scores", len(spec.classes)), (boxes, "boxes", 4)):
        proto.graph.node.append(helper.make_node("Identity", [source], [name], name=f"decode_{name}"))
        shape = [batch, spec.priors.count, width]
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    check(proto)


def append_suppression(proto: Any, spec: ModelSpec) -> None:
    """Turn an ONNX graph with scores [B, P, C] and boxes [B, P, 4] into one with final detections, in place.

    Outputs: boxes [B, K, 4] xyxy in units of the input, scores [B, K], labels [B, K] int64, count [B] int64, best
    first; behind `count` stand zeros, and -1 as label. Thresholds are `spec.defaults`. As in
    `ops.postprocess`: boxes are cut to the picture, empty ones dropped, `max_candidates` of each class enter,
    equal scores keep the order of the priors.
    """
    from onnx import TensorProto, helper

    graph, limits = proto.graph, spec.defaults
    priors, classes = spec.priors.count, len(spec.classes)
    most = min(limits.max_detections, priors * classes)
    outputs = expect_outputs(proto, OUTPUT_NAMES["decoded"])
    for node in graph.node:  # two of the final outputs have these names
        for index, name in enumerate(node.output):
            if name in outputs:
                node.output[index] = f"all_{name}"
        for index, name in enumerate(node.input):
            if name in outputs:
                node.input[index] = f"all_{name}"
    nodes = Nodes(proto, "nms")
    constant, op = nodes.constant, nodes.op

    zero, one = constant("zero", 0.0, np.float32), constant("one", 1.0, np.float32)
    boxes = op("Clip", ["all_boxes", zero, one], "clipped_boxes")
    corners = [constant(f"corner{i}", [i], np.int64) for i in (0, 2, 4)]
    axis = constant("last_axis", [2], np.int64)
    low = op("Slice", [boxes, corners[0], corners[1], axis], "low_corner")
    high = op("Slice", [boxes, corners[1], corners[2], axis], "high_corner")
    sides = op("ReduceMin", [op("Sub", [high, low], "sides"), axis], "least_side", keepdims=1)
    solid = op("Cast", [op("Greater", [sides, zero], "is_solid")], "solid", to=TensorProto.FLOAT)
    scores = op("Mul", ["all_scores", solid], "solid_scores")
    if limits.max_candidates < priors:
        count = constant("candidates", [limits.max_candidates], np.int64)
        graph.node.append(
            helper.make_node("TopK", [scores, count], ["best_scores", "best_rows"], axis=1, name="nms_best")
        )
        last = constant("last", [limits.max_candidates - 1], np.int64)
        end = constant("end", [limits.max_candidates], np.int64)
        bound = op("Slice", ["best_scores", last, end, constant("rows_axis", [1], np.int64)], "least_candidate")
        enough = op("GreaterOrEqual", [scores, bound], "is_candidate")
        scores = op("Mul", [scores, op("Cast", [enough], "candidate", to=TensorProto.FLOAT)], "candidate_scores")
    by_class = op("Transpose", [scores], "scores_by_class", perm=[0, 2, 1])
    selected = op(
        "NonMaxSuppression",
        [
            boxes,
            by_class,
            constant("per_class", min(most, priors), np.int64),
            constant("iou", limits.iou_threshold, np.float32),
            constant("score", limits.score_threshold, np.float32),
        ],
        "selected",
    )
    # The kept scores go to their places in a table [B, C, P] of zeros, whose largest entries are the answer.
    values = op("GatherND", [by_class, selected], "selected_scores")
    zeros = op("Mul", [by_class, zero], "zero_table")
    table = op("ScatterND", [zeros, selected, values], "kept_table")
    rows = op("Transpose", [table], "kept_by_prior", perm=[0, 2, 1])  # prior by prior: the order of equal scores
    flat = op("Reshape", [rows, constant("flat", [0, priors * classes], np.int64)], "kept_flat")
    graph.node.append(
        helper.make_node(
            "TopK", [flat, constant("most", [most], np.int64)], ["scores", "places"], axis=1, name="nms_final"
        )
    )
    number = constant("classes", classes, np.int64)
    prior = op("Unsqueeze", [op("Div", ["places", number], "prior"), axis], "prior_column")
    four = op("Expand", [prior, constant("four", [1, 1, 4], np.int64)], "prior_columns")
    found = op("GatherElements", [boxes, four], "found_boxes", axis=1)
    real = op("Greater", ["scores", zero], "is_real")
    factor = op("Unsqueeze", [op("Cast", [real], "real", to=TensorProto.FLOAT), axis], "real_column")
    op("Mul", [found, factor], "boxes")
    op("Where", [real, op("Mod", ["places", number], "label"), constant("none", -1, np.int64)], "labels")
    whole = op("Cast", [real], "real_whole", to=TensorProto.INT64)
    op("ReduceSum", [whole, constant("row_axis", [1], np.int64)], "count", keepdims=0)
    batch = _batch(proto)
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [batch, most, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, most]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [batch, most]),
            helper.make_tensor_value_info("count", TensorProto.INT64, [batch]),
        ]
    )
    kept = [value for value in graph.value_info if value.name not in outputs]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    check(proto)


def describe(proto: Any, spec: ModelSpec) -> None:
    """Put the spec and the class names into the metadata, and take the exporter's own notes out."""
    names = {str(label): name for label, name in enumerate(spec.classes)}
    del proto.metadata_props[:]
    for key, value in ((METADATA_KEY, spec.to_json()), ("names", json.dumps(names))):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    proto.producer_name = "edgessd"
    proto.producer_version = spec.provenance.edgessd
    proto.doc_string = f"{spec.name}: {CONTENTS[spec.output.level]}"
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]


class Nodes:
    """New nodes and constants behind a graph, with names that are not taken yet."""

    def __init__(self, proto: Any, prefix: str) -> None:
        self.graph, self.prefix = proto.graph, prefix
        self._nodes = {node.name for node in proto.graph.node}
        self._tensors = {name for node in proto.graph.node for name in node.output}

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), f"{self.prefix}_{name}"))
        return f"{self.prefix}_{name}"

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; return its name, which is `output` where that is free."""
        from onnx import helper

        name = f"{self.prefix}_{output}"
        assert name not in self._nodes
        output = name if output in self._tensors else output
        self.graph.node.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output


def expect_outputs(proto: Any, names: Sequence[str]) -> list[str]:
    """Return the names of the graph's outputs. Raises ModelError where they are not `names`."""
    found = [value.name for value in proto.graph.output]
    if found != list(names):
        raise ModelError(f"the graph returns {', '.join(found)}, not {' and '.join(names)}")
    return found


def _batch(proto: Any) -> int | str:
    size = proto.graph.output[0].type.tensor_type.shape.dim[0]
    return str(size.dim_param) or int(size.dim_value)


def check(proto: Any) -> None:
    """Hold a graph with its types and shapes to ONNX. Raises onnx's own errors."""
    import onnx

    onnx.checker.check_model(proto, full_check=True)
