"""OpenVINO IR from finished ONNX graphs; it needs onnx (for the graph) and openvino, and no torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgessd._openvino import import_openvino
from edgessd.errors import InputError, ModelError
from edgessd.io.files import check_writable, temporary_beside, writing
from edgessd.spec import METADATA_KEY, ModelSpec


def write_openvino(proto: Any, spec: ModelSpec, path: Path) -> None:
    """Write an `onnx.ModelProto` and its spec as `path` (.xml) and the weights beside it (.bin), both or neither.

    The spec is in the file's `rt_info` under `edgessd/spec`; under `model_info` stands what OpenVINO's own tools
    look for. A spec of precision fp16 stores the weights as float16.

    Raises ModelError where OpenVINO cannot convert the graph or the files cannot be written.
    """
    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
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
        outlet.get_tensor().set_names({name})
    scope, _, key = METADATA_KEY.partition(".")
    model.set_rt_info(spec.to_json(), [scope, key])
    model.set_rt_info(" ".join(name.replace(" ", "_") for name in spec.classes), ["model_info", "labels"])
    model.set_rt_info("SSD", ["model_info", "model_type"])


def _save(openvino: Any, model: Any, path: Path, *, half: bool) -> None:
    """Both files beside their places first, then the weights, then the graph that needs them."""
    weights = path.with_suffix(".bin")
    try:
        check_writable(path)
        check_writable(weights)
        temporary = temporary_beside(path)
        with writing(path):
            try:
                openvino.save_model(model, str(temporary), compress_to_fp16=half)
                temporary.with_suffix(".bin").replace(weights)
                temporary.replace(path)
            except RuntimeError as error:
                raise ModelError(f"cannot write {path}: {str(error).splitlines()[0][:200]}") from None
            finally:
                temporary.unlink(missing_ok=True)
                temporary.with_suffix(".bin").unlink(missing_ok=True)
    except InputError as error:
        raise ModelError(str(error)) from None
