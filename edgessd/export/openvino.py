"""OpenVINO IR (`.xml` and `.bin`), from the same graphs as ONNX files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from edgessd._openvino import import_openvino
from edgessd.errors import ModelError
from edgessd.export import onnx as onnx_format
from edgessd.export.job import Job
from edgessd.export.openvino_file import write_openvino
from edgessd.spec import ModelSpec


def export(job: Job, path: Path) -> ModelSpec:
    """Write what `job` asks for: `path` (.xml) and the weights beside it (.bin); return the spec."""
    if path.suffix != ".xml":
        raise ModelError(f"an OpenVINO model is a .xml file with a .bin beside it, not {path.name}")
    import_openvino()  # before the long part
    # float16 weights are OpenVINO's own doing: the graph stays float32 and the runtime chooses what it computes in.
    proto, spec = onnx_format.build(job if job.precision != "fp16" else replace(job, precision="fp32"))
    spec = msgspec.structs.replace(spec, precision=job.precision)
    write_openvino(proto, spec, path)
    return spec
