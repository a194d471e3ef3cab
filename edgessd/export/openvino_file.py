"""OpenVINO IR from finished ONNX graphs; it needs onnx (for the graph) and openvino, and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgessd._openvino import import_openvino
from edgessd.errors import InputError, ModelError
from edgessd.export.onnx_int8 import input_zero_point_into_bias
from edgessd.io.files import check_writable, put_in_place, scratch_folder, writing
from edgessd.spec import METADATA_KEY, ModelSpec

MODEL_API_NAMES = {"boxes": "bboxes"}
"""Second names of outputs, by which Intel's Model API finds them."""


def write_openvino(proto: Any, spec: ModelSpec, path: Path) -> None:
    """Write an `onnx.ModelProto` and its spec as `path` (.xml) and the weights beside it (.bin), both or neither.

    The graph of an int8 file is changed, see `onnx_int8.input_zero_point_into_bias`.

    The spec is in the file's `rt_info` under `edgessd/spec`; under `model_info` stands what OpenVINO's own tools
    look for. A spec of precision fp16 stores the weights as float16.

    Raises ModelError where OpenVINO cannot convert the graph or the files cannot be written.
    """
    openvino = import_openvino()
    if spec.precision == "int8":
        input_zero_point_into_bias(proto)
    with scratch_folder(path) as folder:
        file = folder / "model.onnx"
        file.write_bytes(proto.SerializeToString())
        try:
            model = openvino.Core().read_model(str(file))
        except Exception as error:  # OpenVINO raises RuntimeError's children and its own
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelError(f"OpenVINO cannot convert {spec.name!r}: {line}") from error
    describe(model, spec)
    _save(openvino, model, path, half=spec.precision == "fp16")


def describe(model: Any, spec: ModelSpec) -> None:
    """Give an `openvino.Model` the spec, its outputs' names, and the description for OpenVINO's own tools."""
    for outlet, name in zip(model.outputs, spec.output.names, strict=True):
        outlet.get_tensor().set_names({name, MODEL_API_NAMES.get(name, name)} if _is_final(spec) else {name})
    scope, _, key = METADATA_KEY.partition(".")
    model.set_rt_info(spec.to_json(), [scope, key])
    for key, value in model_info(spec).items():
        model.set_rt_info(value, ["model_info", key])


def model_info(spec: ModelSpec) -> dict[str, str]:
    """Return what Intel's Model API reads of a detector, so that `Model.create_model(FILE)(image)` gives its boxes.

    Its pictures are BGR, as OpenCV reads them. Source: Model API's guide, "Model configuration".
    """
    tensor = spec.input
    info = {
        "model_type": "SSD",
        "labels": " ".join(name.replace(" ", "_") for name in spec.classes),
        "confidence_threshold": f"{spec.defaults.score_threshold:g}",
        "resize_type": "standard" if tensor.resize == "stretch" else "fit_to_window",
        "interpolation_mode": {"nearest": "NEAREST", "cubic": "CUBIC"}.get(tensor.interpolation, "LINEAR"),
        "reverse_input_channels": "YES" if tensor.channels == "RGB" else "NO",
        "pad_value": str(tensor.pad_value),
    }
    if tensor.dtype == "float32":
        info["mean_values"] = " ".join(f"{value:.9g}" for value in tensor.mean)
        info["scale_values"] = " ".join(f"{value:.9g}" for value in tensor.scale)
    return info


def _is_final(spec: ModelSpec) -> bool:
    return spec.output.level == "nms" and spec.output.layout == "standard"


def _save(openvino: Any, model: Any, path: Path, *, half: bool) -> None:
    """Both files beside their places first, then the weights, then the graph that needs them."""
    weights = path.with_suffix(".bin")
    try:
        check_writable(weights)
        check_writable(path)
        with scratch_folder(path) as folder, writing(path, folder):
            made = folder / "model.xml"
            try:
                openvino.save_model(model, str(made), compress_to_fp16=half)
            except RuntimeError as error:
                raise ModelError(f"cannot write {path}: {str(error).splitlines()[0][:200]}") from None
            put_in_place(made.with_suffix(".bin"), weights)
            put_in_place(made, path)
    except InputError as error:
        raise ModelError(str(error)) from None
