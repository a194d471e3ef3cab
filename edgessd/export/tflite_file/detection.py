"""From level raw to level nms: TFLite_Detection_PostProcess behind the network.

B batch (1 here), P priors, C classes.

The operator decodes, thresholds and suppresses, but it does not cut boxes to the picture first, and it returns
boxes without area. `ops.postprocess` does the one and drops the other, so the graph decodes and cuts the
boxes itself and hands them over as offsets against one prior that is the whole picture: (cy, cx, log h, log w)
against (0, 0, 1, 1) with scales of 1.
"""

from __future__ import annotations

import msgspec
import numpy as np
from flatbuffers import flexbuffers

from edgessd.errors import ModelError
from edgessd.export.tflite_file.decoding import corners, scores_of
from edgessd.export.tflite_file.describe import OPERATOR_ORDER, apply, output_tensors
from edgessd.export.tflite_file.editor import Editor
from edgessd.export.tflite_file.interface import to_float
from edgessd.ops.priors import inside_mask
from edgessd.spec import ModelSpec, OutputSpec

OPERATOR = "TFLite_Detection_PostProcess"

# Smallest size that is handed to the operator: the logarithm of 0 is none.
_SMALLEST = 1e-7
_TINY = float(np.finfo(np.float32).tiny)


def append_detection_postprocess(data: bytes, spec: ModelSpec) -> bytes:
    """Return a file of level nms from one of level raw, with its new spec and the thresholds of `spec.defaults` inside.

    Outputs, all float32, K = `spec.defaults.max_detections`: `boxes` [1, K, 4] (y1, x1, y2, x2) in units of the
    input, cut to 0..1; `labels` [1, K]; `scores` [1, K]; `count` [1]. Suppression is class by class. Behind
    `count` stand zeros. Integer outputs of the network are dequantised first.

    The detections are those of `ops.postprocess`, with three limits: all priors above the threshold enter the
    suppression, not `max_candidates` of each class (it shows only where a class has more of them); equal scores
    of different classes may change places; with `letterbox`, boxes are cut to the input, not to the picture in it.

    Raises ModelError where the file is not of level raw or does not fit its spec.
    """
    if spec.output.level != "raw":
        raise ModelError(f"the TFLite file is of level {spec.output.level}: detections are made from level raw")
    editor = Editor(data)
    logits, offsets = (to_float(editor, index) for index in output_tensors(editor, spec).values())
    low, high = _cut(editor, corners(editor, spec, offsets))
    sides = editor.node("SUB", [high, low], "sides", editor.shape(low))
    factors = [scores_of(editor, spec, logits), _mask(editor, spec, sides)]
    scores = editor.node("MUL", factors, "solid_scores", editor.shape(logits))
    outputs = _operator(editor, spec, _encode_boxes(editor, low, high, sides), scores)

    output = OutputSpec(level="nms")
    named = dict(zip((output.names[place] for place in OPERATOR_ORDER), outputs, strict=True))
    editor.interface(editor.inputs(), named)
    apply(editor, msgspec.structs.replace(spec, output=output))
    return editor.to_bytes()


def _cut(editor: Editor, corners: tuple[int, int]) -> tuple[int, int]:
    """Low and high corners, cut to 0..1."""
    zero, one = (editor.constant(name, np.array(n, np.float32)) for name, n in (("zero", 0), ("one", 1)))
    shape = editor.shape(corners[0])
    above = [editor.node("MAXIMUM", [corner, zero], "above_zero", shape) for corner in corners]
    low, high = (editor.node("MINIMUM", [corner, one], "cut_corners", shape) for corner in above)
    return low, high


def _mask(editor: Editor, spec: ModelSpec, sides: int) -> int:
    """[1, P, 1]: 1 where a box has an area and its prior takes part, else 0."""
    shape = (1, spec.priors.count, 1)
    axis = editor.constant("sides_axis", np.array([2], np.int32))
    least = editor.node("REDUCE_MIN", [sides, axis], "least_sides", shape, keepDims=True)
    if spec.priors.exclude_boundary:
        inside = inside_mask(spec.priors).astype(np.float32).reshape(shape)
        least = editor.node("MUL", [least, editor.constant("inside", inside)], "least_inside", shape)
    zero = editor.constant("no_side", np.array(0, np.float32))
    solid = editor.node("GREATER", [least, zero], "is_solid", shape, "bool")
    result = editor.tensor("solid", shape)
    types = {"inDataType": editor.graph.tensors[solid].type, "outDataType": editor.graph.tensors[result].type}
    editor.operator("CAST", [solid], [result], **types)
    return result


def _encode_boxes(editor: Editor, low: int, high: int, sides: int) -> int:
    """[1, P, 4] (cy, cx, log h, log w): the boxes as the operator takes them."""
    _, priors, _ = shape = editor.shape(low)
    half = editor.constant("half", np.array(0.5, np.float32))
    center = editor.node("MUL", [editor.node("ADD", [low, high], "corner_sums", shape), half], "box_centers", shape)
    smallest = editor.constant("smallest", np.array(_SMALLEST, np.float32))
    size = editor.node("LOG", [editor.node("MAXIMUM", [sides, smallest], "sizes", shape)], "box_log_sizes", shape)
    boxes = editor.node("CONCATENATION", [center, size], "boxes_xywh", (1, priors, 4), axis=2)
    order = editor.constant("y_before_x", np.array([1, 0, 3, 2], np.int32))
    return editor.node("GATHER", [boxes, order], "boxes_yxhw", (1, priors, 4), axis=2)


def _operator(editor: Editor, spec: ModelSpec, boxes: int, scores: int) -> list[int]:
    """Add the operator; return its outputs: boxes, labels, scores, count."""
    limits = spec.defaults
    most = limits.max_detections
    picture = np.tile(np.array([0, 0, 1, 1], np.float32), (spec.priors.count, 1))
    # The operator keeps scores that reach the threshold; here they must lie above it. And it wants an IoU above 0.
    score = max(float(np.nextafter(np.float32(limits.score_threshold), np.float32(2))), _TINY)
    options = {
        "max_detections": most,
        "max_classes_per_detection": 1,
        "detections_per_class": most,
        "use_regular_nms": True,
        "nms_score_threshold": score,
        "nms_iou_threshold": max(limits.iou_threshold, _TINY),
        "num_classes": len(spec.classes),
        "y_scale": 1.0,
        "x_scale": 1.0,
        "h_scale": 1.0,
        "w_scale": 1.0,
    }
    outputs = [
        editor.tensor("found_boxes", (1, most, 4)),
        editor.tensor("found_labels", (1, most)),
        editor.tensor("found_scores", (1, most)),
        editor.tensor("found_count", (1,)),
    ]
    inputs = [boxes, scores, editor.constant("whole_picture", picture)]
    editor.custom_operator(OPERATOR, inputs, outputs, bytes(flexbuffers.Dumps(options)))
    return outputs
