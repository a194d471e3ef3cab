"""OpenVINO IR (`.xml` and `.bin`), from the same graphs as ONNX files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgessd._openvino import import_openvino
from edgessd.errors import InputError, ModelError
from edgessd.export import onnx as onnx_format
from edgessd.export.job import Job
from edgessd.io.files import check_writable, temporary_beside, writing
from edgessd.spec import METADATA_KEY, ModelSpec


def export(job: Job, path: Path) -> ModelSpec:
    """Write what `job` asks for: `path` (.xml) and the weights beside it (.bin); return the spec."""
    if path.suffix != ".xml":
        raise ModelError(f"an OpenVINO model is a .xml file with a .bin beside it, not {path.name}")
    import_openvino()
    # float16 weights are OpenVINO's own doing: the graph stays float32 and the runtime chooses what it computes in.
    float_job = job if job.precision != "fp16" else Job(job.source, job.spec, "fp32", job.level, job.tensor, job.batch)
    proto, spec = onnx_format.build(float_job)
    if job.precision == "fp16":
        import msgspec

        spec = msgspec.structs.replace(spec, precision="fp16")
    write(proto, spec, path)
    return spec


def write(proto: Any, spec: ModelSpec, path: Path) -> None:
    """Write an ONNX graph as `path` (.xml) and the weights beside it (.bin), weights in float16 if the spec says so.

    The spec is in the file's `rt_info` under `edgessd/spec`, the class names under `model_info/labels`, where
    OpenVINO's own tools look. Raises ModelError.
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
    for outlet, name in zip(model.outputs, spec.output.names, strict=True):
        outlet.get_tensor().set_names({name})
    scope, _, key = METADATA_KEY.partition(".")
    model.set_rt_info(spec.to_json(), [scope, key])
    model.set_rt_info(" ".join(name.replace(" ", "_") for name in spec.classes), ["model_info", "labels"])
    model.set_rt_info("SSD", ["model_info", "model_type"])
    _save(openvino, model, path, half=spec.precision == "fp16")


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
