"""How much of the postprocessing is inside the graph: wrappers around the network, and the suppression in ONNX.

B batch, P priors, C classes, K most detections of a picture. Everything is made from the spec's own tables
(`ops.priors`, `ops.boxes`) and does what `ops.postprocess` does.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from edgessd.errors import ModelError
from edgessd.ops.boxes import MAX_LOG_SIZE
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import OUTPUT_NAMES, ModelSpec, OutputSpec


def with_level(spec: ModelSpec, level: Literal["raw", "decoded", "nms"]) -> ModelSpec:
    """Return the spec of a graph with that level."""
    return msgspec.structs.replace(spec, output=OutputSpec(level=level, names=OUTPUT_NAMES[level]))


class Half(nn.Module):
    """A network that computes in float16 between float32 inputs and outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> logits, offsets."""
        logits, offsets = self.network(x.half())
        return logits.float(), offsets.float()


class Decoded(nn.Module):
    """A network whose outputs are scores [B, P, C] and boxes [B, P, 4] xyxy in units of the input.

    Scores of priors that the spec leaves out (`exclude_boundary`) are 0. Boxes may reach over the border.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.inside: Tensor | None
        self.centers: Tensor
        self.sizes: Tensor
        self.softmax = spec.scores == "softmax"
        self.center_variance, self.size_variance = spec.coder.center_variance, spec.coder.size_variance
        priors = torch.from_numpy(prior_boxes(spec.priors).copy())
        self.register_buffer("centers", priors[:, :2].unsqueeze(0))
        self.register_buffer("sizes", priors[:, 2:].unsqueeze(0))
        inside = inside_mask(spec.priors).astype(np.float32) if spec.priors.exclude_boundary else None
        self.register_buffer("inside", None if inside is None else torch.from_numpy(inside.copy()).reshape(1, -1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures as the network takes them -> scores, boxes."""
        logits, offsets = self.network(x)
        scores = logits.softmax(dim=2)[..., 1:] if self.softmax else logits.sigmoid()
        if self.inside is not None:
            scores = scores * self.inside
        centers = self.centers + offsets[..., :2] * self.center_variance * self.sizes
        half = self.sizes * torch.exp((offsets[..., 2:] * self.size_variance).clamp(max=MAX_LOG_SIZE)) / 2
        return scores, torch.cat([centers - half, centers + half], dim=2)


def append_suppression(proto: Any, spec: ModelSpec) -> None:
    """Turn an ONNX graph with scores [B, P, C] and boxes [B, P, 4] into one with final detections, in place.

    Outputs: boxes [B, K, 4] xyxy in units of the input, scores [B, K], labels [B, K] int64, count [B] int64, best
    first; behind `count` stand zeros, and -1 as label. Thresholds are `spec.defaults`. As in
    `ops.postprocess`: boxes are cut to the picture, empty ones dropped, `max_candidates` of each class enter,
    equal scores keep the order of the priors.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph, limits = proto.graph, spec.defaults
    priors, classes = spec.priors.count, len(spec.classes)
    most = min(limits.max_detections, priors * classes)
    outputs = [value.name for value in graph.output]
    if outputs != list(OUTPUT_NAMES["decoded"]):
        raise ModelError(f"the graph returns {outputs}, not scores and boxes")
    for node in graph.node:  # two of the final outputs have these names
        for index, name in enumerate(node.output):
            if name in outputs:
                node.output[index] = f"all_{name}"
        for index, name in enumerate(node.input):
            if name in outputs:
                node.input[index] = f"all_{name}"
    existing = {node.name for node in graph.node}

    def constant(name: str, values: Any, dtype: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), f"nms_{name}"))
        return f"nms_{name}"

    def op(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        name = f"nms_{output}"
        assert name not in existing
        graph.node.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

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
    shape = graph.output[0].type.tensor_type.shape.dim[0]
    batch = shape.dim_param or shape.dim_value
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
    onnx.checker.check_model(proto, full_check=True)
