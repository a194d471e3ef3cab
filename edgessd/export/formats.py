"""One table of formats, and the one door to them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edgessd.errors import ModelError, OptionError, did_you_mean
from edgessd.export.job import Job, Precision, Tensor
from edgessd.export.onnx_layouts import INPUTS, check_layout, output_of
from edgessd.models.checkpoint import load_checkpoint
from edgessd.models.ssd import SSD
from edgessd.quantization.recipe import is_quantized
from edgessd.spec import LAYOUTS, Layout, Level, ModelSpec, OutputSpec

if TYPE_CHECKING:
    from edgessd.quantization.network import QuantizedNetwork

Source = str | os.PathLike[str] | tuple[SSD, ModelSpec]


@dataclass(frozen=True)
class Format:
    """What a format can do.

    module: of this package, whose `export(job, path)` writes the file. tensors: types of the input by precision,
    the usual one first. layouts: beside the standard one. batches: `dynamic` or any number where it is empty,
    otherwise only these. opsets: lowest and highest, None where the format has none.
    """

    module: str
    suffix: str
    precisions: tuple[Precision, ...]
    levels: tuple[Level, ...]
    tensors: dict[Precision, tuple[Tensor, ...]]
    layouts: tuple[Layout, ...] = ()
    batches: tuple[int, ...] = ()
    opsets: tuple[int, int] | None = None


_FLOAT: tuple[Tensor, ...] = ("float32",)
FORMATS = {
    "onnx": Format(
        "onnx",
        ".onnx",
        ("fp32", "fp16", "int8"),
        ("raw", "decoded", "nms"),
        {"fp32": _FLOAT, "fp16": _FLOAT, "int8": ("uint8", "float32")},
        layouts=("detections7", "opencv", "jetson"),
        opsets=(18, 23),
    ),
    "tflite": Format(
        "tflite",
        ".tflite",
        ("fp32", "fp16", "int8"),
        ("raw", "decoded", "nms"),
        {"fp32": ("float32", "uint8"), "fp16": ("float32", "uint8"), "int8": ("uint8", "int8", "float32")},
        batches=(1,),
    ),
    "openvino": Format(
        "openvino",
        ".xml",
        ("fp32", "fp16", "int8"),
        ("raw", "decoded", "nms"),
        {"fp32": _FLOAT, "fp16": _FLOAT, "int8": ("uint8", "float32")},
        layouts=("detections7",),
    ),
}


def export_model(
    source: Source | QuantizedNetwork,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    precision: str | None = None,
    level: str | None = None,
    layout: str = "standard",
    tensor: str | None = None,
    batch: int | Literal["dynamic"] | None = None,
    opset: int | None = None,
) -> ModelSpec:
    """Write a network as a file for a device, whole or not at all, and return the spec that it carries.

    source: a checkpoint, float or quantised, or what `load_checkpoint` or `load_quantized` returns.
    format: a key of `FORMATS`; None takes it from the suffix of `path`. precision: `fp32` or `fp16` for float
    networks, `int8` for quantised ones; None takes what fits. level: `raw` for edgessd's runtimes, `decoded`, or
    `nms` for programs without postprocessing; None is `raw`, or what the layout has. layout: of the outputs, a key
    of `LAYOUTS` for one kind of client, or `standard`. tensor: type of the input; int8 files take the picture's
    bytes (`uint8`) unless told otherwise. batch: None takes what the format does best, and 1 where clients need
    it. opset: of ONNX.

    Raises OptionError for what a format cannot do, ModelError where the source cannot be read or converted or the
    file cannot be written, DependencyError with the pip command where a package is missing.
    """
    target = Path(path)
    name = _format(format, target)
    table = FORMATS[name]
    output = _output(level, layout, name)
    if precision is not None:
        _one_of("precision", precision, table.precisions, name)
    if batch is not None and batch != "dynamic" and (not isinstance(batch, int) or batch < 1):
        raise OptionError(f"batch is 'dynamic' or at least 1, not {batch!r}")
    if batch is not None and table.batches and batch not in table.batches:
        raise OptionError(f"{name} files take {' or '.join(map(str, table.batches))} picture at a time, not {batch}")
    if batch not in (None, 1) and layout != "standard":
        raise OptionError(f"files of layout {layout} take 1 picture at a time, not {batch}")
    if opset is not None and table.opsets is None:
        raise OptionError(f"opset is for ONNX; {name} has none")
    if opset is not None and table.opsets is not None and not table.opsets[0] <= opset <= table.opsets[1]:
        raise OptionError(f"opset is {table.opsets[0]} to {table.opsets[1]}, not {opset}")
    if not target.parent.is_dir():
        raise ModelError(f"cannot write {target}: there is no folder {target.parent}, make it first")
    network, spec = open_source(source)
    chosen = _precision(precision, network)
    check_layout(layout, msgspec.structs.replace(spec, precision=chosen))
    tensors = _FLOAT if layout in INPUTS else table.tensors[chosen]
    if tensor is not None and tensor not in tensors:
        what = name if layout == "standard" else f"{name} with layout {layout}"
        raise OptionError(f"{chosen} files of {what} take {' or '.join(tensors)} input, not {tensor}")
    job = Job(
        network,
        spec,
        chosen,
        output,
        tensor or tensors[0],
        batch or (1 if layout != "standard" else table.batches[0] if table.batches else "dynamic"),
        opset or 18,
    )
    written: ModelSpec = importlib.import_module(f"edgessd.export.{table.module}").export(job, target)
    return written


def open_source(source: Source | QuantizedNetwork) -> tuple[SSD | QuantizedNetwork, ModelSpec]:
    """Return the network of a checkpoint, float or quantised, and its spec; what is loaded already comes back."""
    if isinstance(source, tuple):
        return source
    if not isinstance(source, str | os.PathLike):
        return source, source.spec
    if is_quantized(source):
        from edgessd.quantization.network import load_quantized

        network = load_quantized(source)
        return network, network.spec
    return load_checkpoint(source)


def _format(format: str | None, path: Path) -> str:
    if format is None:
        found = [name for name, entry in FORMATS.items() if entry.suffix == path.suffix.lower()]
        if not found:
            suffixes = ", ".join(f"{entry.suffix} ({name})" for name, entry in FORMATS.items())
            raise OptionError(f"which format is {path.name}? end it in one of {suffixes}, or say --format")
        return found[0]
    if format not in FORMATS:
        raise OptionError(f"unknown format {format!r}{did_you_mean(format, FORMATS)}: use {', '.join(FORMATS)}")
    if path.suffix.lower() != FORMATS[format].suffix:
        raise OptionError(f"{format} files end in {FORMATS[format].suffix}: {path.name} does not")
    return format


def _precision(asked: str | None, network: SSD | QuantizedNetwork) -> Precision:
    quantized = not isinstance(network, SSD)
    if asked == "int8" and not quantized:
        raise OptionError(
            "an int8 file needs a quantised checkpoint: make one with `edgessd quantize CHECKPOINT --calibration DIR` "
            "or `edgessd qat`, then export that"
        )
    if asked in ("fp32", "fp16") and quantized:
        raise OptionError(f"this checkpoint is quantised, its files are int8: export the float one as {asked}")
    return asked or ("int8" if quantized else "fp32")  # type: ignore[return-value]


def _output(level: str | None, layout: str, format: str) -> OutputSpec:
    table = FORMATS[format]
    if layout == "standard":
        level = "raw" if level is None else level
        _one_of("level", level, table.levels, format)
        return OutputSpec(level=level)  # type: ignore[arg-type]
    _one_of("layout", layout, ("standard", *table.layouts), format)
    wanted = LAYOUTS[layout].level
    if level not in (None, wanted):
        raise OptionError(f"layout {layout} is of level {wanted}, not {level}: leave --level out")
    return output_of(layout)


def _one_of(what: str, value: str, allowed: tuple[str, ...], format: str) -> None:
    if value not in allowed:
        raise OptionError(f"{format} has no {what} {value!r}{did_you_mean(value, allowed)}: use {', '.join(allowed)}")
