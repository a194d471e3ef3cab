"""Model files of level `nms`: as they are, or made from a file of a lower level."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from edgessd.errors import ModelError, SpecError, missing_extra, printable
from edgessd.model_file import read_facts
from edgessd.spec import Layout, ModelSpec, OutputSpec

EXTRA = "browser"


def final_onnx(path: Path, layout: Layout = "standard") -> tuple[bytes, ModelSpec]:
    """Return bytes and spec of an ONNX file of level `nms`, made from `path` where that has a lower level.

    layout: of its outputs, one of level `nms`; other than `standard` it takes one picture at a time.

    Raises DependencyError with the pip command where the package onnx is needed and missing, ModelError where the
    file cannot be used, OptionError where the layout is not for such a network.
    """
    spec = read_facts(path).spec(path)
    if spec.output.level == "nms" and spec.output.layout == layout:
        return path.read_bytes(), spec
    proto, spec = _raise_onnx(path, spec, layout)
    return proto.SerializeToString(), spec


def final_openvino(path: Path, target: Path, layout: Layout = "standard") -> ModelSpec:
    """Write an ONNX file as an OpenVINO file of level `nms`, `target` (.xml) with its .bin; return the spec.

    Raises as `final_onnx`, and DependencyError where the package openvino is missing.
    """
    spec = read_facts(path).spec(path)
    if spec.output.level == "nms" and spec.output.layout == layout:
        proto = _onnx().load_model_from_string(path.read_bytes())
    else:
        proto, spec = _raise_onnx(path, spec, layout)
    from edgessd.export.openvino_file import write_openvino

    write_openvino(proto, spec, target)
    return spec


def final_rows(data: bytes, spec: ModelSpec) -> tuple[bytes, ModelSpec]:
    """Return an ONNX file of layout detections7 with the rows that Frigate's ONNX detector reads, and its spec.

    The spec is not in the file: no runtime of edgessd reads such rows. Raises DependencyError as `final_onnx`.
    """
    onnx = _onnx()
    from edgessd.export import onnx_rows

    proto = onnx.load_model_from_string(data)
    onnx_rows.append_rows(proto, spec)
    del proto.metadata_props[:]
    proto.doc_string = f"{spec.name}: rows of image, x1, y1, x2, y2, score, label for Frigate"
    return proto.SerializeToString(), spec


def _raise_onnx(path: Path, spec: ModelSpec, layout: Layout) -> tuple[Any, ModelSpec]:
    """Return the graph of an ONNX file with the level `nms` and a layout, and its spec."""
    onnx = _onnx()
    from edgessd.export import onnx_file, onnx_layouts

    proto = onnx.load_model_from_string(path.read_bytes())
    try:
        spec = onnx_layouts.raise_to(proto, spec, OutputSpec(level="nms", layout=layout))
    except (ModelError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _foreign_error(path, error) from None
    onnx_file.describe(proto, spec)
    return proto, spec


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", EXTRA) from None
    return onnx


def final_tflite(path: Path) -> tuple[bytes, ModelSpec]:
    """Return bytes and spec of a TFLite file of level `nms` with the standard's metadata, from level `raw` if need be.

    Raises DependencyError with the pip command where the package ai-edge-litert is needed and missing, ModelError
    where the file cannot be used.
    """
    spec = read_facts(path).spec(path)
    if spec.output.level == "nms":
        return path.read_bytes(), spec
    if spec.output.level == "decoded":
        raise ModelError(
            f"{printable(path)} is of level decoded, MediaPipe takes level nms: export the checkpoint again, "
            f"edgessd export CHECKPOINT -o {printable(path.name)} --level nms"
        )
    if find_spec("ai_edge_litert") is None:
        raise missing_extra("ai-edge-litert", EXTRA)
    from edgessd.export import tflite_file

    try:
        data = tflite_file.append_detection_postprocess(path.read_bytes(), spec)
        spec = _final_spec(spec)
        return tflite_file.add_phone_metadata(tflite_file.describe(data, spec), spec), spec
    except ModelError as error:
        raise _foreign_error(path, error) from None


def _final_spec(spec: ModelSpec) -> ModelSpec:
    return msgspec.structs.replace(spec, output=OutputSpec(level="nms"))


def _foreign_error(path: Path, error: Exception) -> SpecError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return SpecError(f"{printable(path)}: no detections can be made in its graph: {printable(lines[0], 300)}")
