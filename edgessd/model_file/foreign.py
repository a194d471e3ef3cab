"""The spec of another tool's TFLite detector, read from the file itself and the class names that the user gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from edgessd.classes.label_files import class_names
from edgessd.errors import ModelError, OptionError, SpecError, printable
from edgessd.model_file.readers.facts import Detection, FileFacts, no_spec
from edgessd.model_file.readers.tflite import DETECTION
from edgessd.spec import UNKNOWN_PRIORS, InputSpec, ModelSpec, OutputSpec, Provenance, Thresholds

Labels = str | Path | Sequence[str]


def foreign_spec(path: Path, facts: FileFacts, labels: Labels | None) -> ModelSpec:
    """Describe a TFLite file without a spec that ends in `TFLite_Detection_PostProcess`.

    labels: class names, see `class_names`; None takes those of the file's standard metadata.
    An integer input takes the bytes of the RGB picture as they are, as its scale and zero point say; a float
    input needs the normalisation of the standard metadata. Thresholds are those of the operator.

    Raises SpecError where the file does not say enough, OptionError for labels that do not fit.
    """
    name = printable(path)
    given = labels if labels is not None else facts.labels
    if facts.detection is None:
        if labels is not None:
            raise SpecError(f"{name} has no {DETECTION} at its end, so labels are not enough: give a whole spec")
        raise no_spec(path)
    if given is None:
        raise SpecError(
            f"{name} has neither an edgessd spec nor class names (it was made by another tool): give them with "
            "--labels FILE, or labels= in Python"
        )
    count = _option(facts.detection, "num_classes", 1, 32_768, name)
    most = _option(facts.detection, "max_detections", 1, 100_000, name)
    try:
        return ModelSpec(
            name=printable(path.stem, 100) or "model",
            input=_input(facts, name),
            classes=class_names(given, int(count)),
            priors=UNKNOWN_PRIORS,
            scores="sigmoid",
            output=OutputSpec(level="nms"),
            defaults=Thresholds(
                score_threshold=_option(facts.detection, "nms_score_threshold", 0, 1, name),
                iou_threshold=_option(facts.detection, "nms_iou_threshold", 0, 1, name),
                max_detections=int(most),
            ),
            precision="int8" if {"int8", "uint8"} & facts.weights else "fp32",
            provenance=Provenance(weights="another tool's file"),
        )
    except ValueError as error:
        raise SpecError(f"{name}: {printable(error)}") from None


def _option(detection: Detection, key: str, low: float, high: float, name: str) -> float:
    """Return an option of the operator, rounded to six digits, because 0.6 is stored as 0.60000002."""
    value = detection.options.get(key, math.nan)
    if not low <= value <= high:
        raise ModelError(f"{name}: {key} of {DETECTION} is {value:g}, not within {low:g} and {high:g}")
    return float(f"{value:.6g}")


def _input(facts: FileFacts, name: str) -> InputSpec:
    tensor = facts.inputs[0] if len(facts.inputs) == 1 else None
    shape = tensor.shape if tensor is not None else None
    if tensor is None or shape is None or len(shape) != 4 or shape[3] != 3 or shape[1] is None or shape[2] is None:
        raise SpecError(f"{name} does not have one input of RGB pictures, [1, H, W, 3]: give a whole spec")
    height, width = shape[1], shape[2]
    if not 1 <= min(height, width) <= max(height, width) <= 8192:
        raise SpecError(f"{name} takes pictures of {width}x{height} pixels, edgessd at most 8192x8192")
    if tensor.dtype in ("uint8", "int8") and tensor.scale is not None:
        if not 1e-9 <= tensor.scale <= 1e6 or not -128 <= tensor.zero_point <= 255:
            raise SpecError(f"{name}: the input has scale {tensor.scale:g} and zero point {tensor.zero_point}")
        # The byte p of a picture is the integer q of the tensor, or q + 128: the value is (p - mean) * scale.
        mean = tensor.zero_point + (128 if tensor.dtype == "int8" else 0)
        return InputSpec(
            width=width,
            height=height,
            layout="NHWC",
            dtype="int8" if tensor.dtype == "int8" else "uint8",
            mean=(float(mean),) * 3,
            scale=(1 / tensor.scale,) * 3,
            quantization_scale=tensor.scale,
            quantization_zero_point=tensor.zero_point,
        )
    if tensor.dtype == "float32" and facts.mean and facts.scale:
        mean3, scale3 = _three(facts.mean, name), _three(facts.scale, name)
        return InputSpec(width=width, height=height, layout="NHWC", mean=mean3, scale=scale3)
    raise SpecError(
        f"{name} takes {tensor.dtype} pictures and does not say how they are normalised: give a whole spec with "
        "--spec FILE, or spec= in Python"
    )


def _three(values: tuple[float, ...], name: str) -> tuple[float, float, float]:
    if len(values) not in (1, 3):
        raise SpecError(f"{name}: the standard metadata normalises {len(values)} channels")
    first, second, third = values * 3 if len(values) == 1 else values
    return first, second, third


def refuse_labels(path: Path) -> OptionError:
    """Return the error for labels given with a file that has its own."""
    return OptionError(f"{printable(path)} carries its own class names: leave labels out")
