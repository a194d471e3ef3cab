"""What a TFLite file's tensors and its detection operator must look like by its spec, held before an engine runs."""

from __future__ import annotations

import math
from pathlib import Path

from edgessd.errors import SpecError, printable
from edgessd.model_file.contract import FOREIGN, check_input, check_names, check_scale
from edgessd.model_file.readers.facts import Detection, FileFacts
from edgessd.spec import ModelSpec


def check_file(facts: FileFacts, spec: ModelSpec, path: Path) -> None:
    """Hold what the file itself says of its tensors against the spec. Raises SpecError.

    Sizes that the interpreter finds out only when it prepares the graph are left to it.
    """
    check_image(facts, spec, path)
    if spec.output.layout != "standard":
        raise SpecError(f"{printable(path)}: TFLite files have no layout {spec.output.layout}: {FOREIGN}")
    output_order(facts, spec, path)
    if facts.detection is not None and spec.output.level == "nms":
        check_detection(facts.detection, spec, path)


def check_image(facts: FileFacts, spec: ModelSpec, path: Path) -> None:
    """Hold the input tensor and its scale against the spec. Raises SpecError."""
    inputs = facts.inputs
    shapes = [("B", None, None, None) if each.shape is None else each.shape for each in inputs]
    check_input(spec, shapes, [each.dtype for each in inputs], path)
    if spec.input.dtype != "float32":
        check_scale(spec, inputs[0].scale or 0.0, inputs[0].zero_point, path)


def check_detection(detection: Detection, spec: ModelSpec, path: Path) -> str:
    """Hold the operator's options against the spec, and return them in words. Raises SpecError.

    The operator itself reads beyond its inputs where they are wrong.
    """
    classes, limits = len(spec.classes), spec.defaults
    wanted = {
        "num_classes": classes,
        "max_detections": limits.max_detections,
        "nms_iou_threshold": limits.iou_threshold,
        "nms_score_threshold": limits.score_threshold,
    }
    options = detection.options
    for key, value in wanted.items():
        if not abs(options.get(key, math.nan) - value) <= 1e-6 * max(1, abs(value)):
            found = options.get(key, "missing")
            raise SpecError(f"{printable(path)}: {key} of the suppression is {found}, its spec says {value}: {FOREIGN}")
    offsets, scores, anchors = (each.shape or () for each in detection.inputs)
    good = (
        len(offsets) == len(scores) == 3
        and offsets[0] == scores[0] == 1
        and (offsets[1], 4) == (scores[1], offsets[2]) == anchors
        and scores[2] in (classes, classes + 1)
        and 1 <= options.get("max_classes_per_detection", 1) <= classes
        and 0 <= options.get("detections_per_class", 100) <= 100_000
        and all(options.get(f"{side}_scale", 0) > 0 for side in "xywh")
    )
    if not good:
        raise SpecError(
            f"{printable(path)}: the suppression's offsets {list(offsets)}, scores {list(scores)}, anchors "
            f"{list(anchors)} and its options do not belong together"
        )
    return ", ".join(f"{key} {value:g}" for key, value in wanted.items())


def output_order(facts: FileFacts, spec: ModelSpec, path: Path) -> list[int]:
    """Return the positions among the graph's outputs of those that the spec names.

    raw, decoded: found by the name of the tensor or of the signature, or, where those names are not there, by
    shapes that can be nothing else. nms: locations, classes, scores, count, as the detection operator has them.
    Raises SpecError.
    """
    outputs = facts.outputs
    if spec.output.level == "nms":
        if facts.detection is None:
            raise SpecError(f"{printable(path)} does not end in TFLite_Detection_PostProcess, its spec says level nms")
        return list(facts.detection.outputs)
    places = {output.name: place for place, output in enumerate(outputs)}
    names = [facts.aliases.get(name, name) for name in spec.output.names]
    if all(name in places for name in names):
        return [places[name] for name in names]
    sizes = [spec.num_logits if spec.output.level == "raw" else len(spec.classes), 4]
    last = [output.shape[-1] if output.shape else None for output in outputs]
    if len(outputs) != 2 or sizes[0] == 4 or sorted(map(str, last)) != sorted(map(str, sizes)):
        check_names(spec, [*places, *facts.aliases], path)
    return [last.index(size) for size in sizes]
