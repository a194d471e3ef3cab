"""From level raw to level decoded: scores and boxes in the graph, as `ops.scores` and `ops.boxes` make them.

B batch (1 here), P priors, C classes.
"""

from __future__ import annotations

import msgspec
import numpy as np

from edgessd.errors import ModelError
from edgessd.export.tflite_file.describe import apply, output_tensors
from edgessd.export.tflite_file.editor import Editor
from edgessd.export.tflite_file.interface import to_float
from edgessd.ops.boxes import MAX_LOG_SIZE
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import ModelSpec, OutputSpec


def append_decoding(data: bytes, spec: ModelSpec) -> bytes:
    """Return a file of level decoded from one of level raw, with its new spec inside.

    Outputs, float32: `scores` [1, P, C] without the background, 0 for priors that the spec leaves out, and `boxes`
    [1, P, 4] xyxy in units of the input, not cut to it. Integer outputs of the network are dequantised first:
    decoding in a converter's integers or half floats was seen to move boxes by a third of the picture.

    Raises ModelError where the file is not of level raw or does not fit its spec.
    """
    if spec.output.level != "raw":
        raise ModelError(f"the TFLite file is of level {spec.output.level}: it can be decoded from level raw only")
    editor = Editor(data)
    logits, offsets = (to_float(editor, index) for index in output_tensors(editor, spec).values())
    scores, classes = scores_of(editor, spec, logits), len(spec.classes)
    shape = (1, spec.priors.count, classes)
    if spec.scores == "softmax":
        begin = editor.constant("behind_background", np.array([0, 0, 1], np.int32))
        size = editor.constant("foreground_size", np.array(shape, np.int32))
        scores = editor.node("SLICE", [scores, begin, size], "foreground", shape)
    if spec.priors.exclude_boundary:
        inside = inside_mask(spec.priors).astype(np.float32).reshape(1, -1, 1)
        scores = editor.node("MUL", [scores, editor.constant("inside", inside)], "scores_inside", shape)
    boxes = editor.node("CONCATENATION", corners(editor, spec, offsets), "corners", (1, spec.priors.count, 4), axis=2)

    output = OutputSpec(level="decoded")
    editor.interface(editor.inputs(), dict(zip(output.names, (scores, boxes), strict=True)))
    apply(editor, msgspec.structs.replace(spec, output=output))
    return editor.to_bytes()


def scores_of(editor: Editor, spec: ModelSpec, logits: int) -> int:
    """Scores of the shape of `logits`; for softmax the background is still in column 0."""
    shape = editor.shape(logits)
    if spec.scores == "sigmoid":
        return editor.node("LOGISTIC", [logits], "all_scores", shape)
    return editor.node("SOFTMAX", [logits], "all_scores", shape, beta=1.0)


def corners(editor: Editor, spec: ModelSpec, offsets: int) -> tuple[int, int]:
    """Low and high corners of the boxes, each [1, P, 2] (x, y) in units of the input, as of `ops.boxes.decode`."""
    priors = prior_boxes(spec.priors)[None]
    shape = (1, spec.priors.count, 2)
    centers, sizes = editor.tensor("center_offsets", shape), editor.tensor("size_offsets", shape)
    axis = editor.constant("last_axis", np.array(2, np.int32))
    editor.operator("SPLIT", [axis, offsets], [centers, sizes], numSplits=2)

    def constant(name: str, values: object) -> int:
        return editor.constant(name, np.asarray(values, np.float32))

    def op(kind: str, first: int, second: int, name: str) -> int:
        return editor.node(kind, [first, second], name, shape)

    moved = op("MUL", centers, constant("center_factor", spec.coder.center_variance * priors[..., 2:]), "moved")
    center = op("ADD", moved, constant("prior_centers", priors[..., :2]), "centers")
    logs = op("MUL", sizes, constant("size_factor", spec.coder.size_variance), "log_sizes")
    bounded = op("MINIMUM", logs, constant("most_log_size", MAX_LOG_SIZE), "bounded_log_sizes")
    grown = editor.node("EXP", [bounded], "growths", shape)
    half = op("MUL", grown, constant("half_priors", priors[..., 2:] / 2), "half_sizes")
    return op("SUB", center, half, "low_corners"), op("ADD", center, half, "high_corners")
