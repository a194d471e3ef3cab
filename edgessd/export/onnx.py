"""ONNX files: the network with as much of the postprocessing as asked for, and its spec inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import nn

from edgessd.errors import InputError, ModelError, OptionError, missing_extra
from edgessd.export.job import Job, bytes_input
from edgessd.export.levels import Half
from edgessd.export.onnx_file import describe
from edgessd.export.onnx_int8 import (
    drop_products_with_constants,
    global_pools,
    integer_biases,
    saturating_pairs,
    take_bytes,
    unsigned_activations,
)
from edgessd.export.onnx_layouts import raise_to
from edgessd.io.files import write_bytes_atomic
from edgessd.models.ssd import SSD
from edgessd.quantization.capture import inference_copy
from edgessd.quantization.quiet import quiet
from edgessd.spec import ModelSpec, OutputSpec

INPUT_NAME = "image"


def export_onnx(
    model: SSD,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    opset: int = 18,
    batch: int | Literal["dynamic"] = "dynamic",
    slim: bool = True,
) -> None:
    """Write `model` as a float32 ONNX file of level `raw`; `export_model` has every precision and level.

    Input `image` [B, 3, H, W] float32, outputs `logits` and `offsets`. Batch norms are folded, constant paddings
    become pads of the convolutions behind them. The spec is in the file's metadata under `edgessd.spec`, the class
    names (as a JSON object {"0": name, ...}) under `names`. The file is checked, and written whole or not at all.
    `model` itself is not changed.

    batch: a number fixes B; `dynamic` leaves it open. slim: simplify the graph with onnxslim.

    Raises OptionError for a batch below 1, ModelError where the file cannot be written, DependencyError
    where onnx, onnxscript or onnxslim is missing.
    """
    if batch != "dynamic" and (not isinstance(batch, int) or batch < 1):
        raise OptionError(f"batch is 'dynamic' or at least 1, not {batch!r}")
    if not Path(path).parent.is_dir():
        raise ModelError(f"cannot write {path}: there is no folder {Path(path).parent}")
    write_onnx(to_onnx(model, spec, opset=opset, batch=batch, slim=slim), path)


def export(job: Job, path: Path) -> ModelSpec:
    """Write what `job` asks for and return the spec of the file."""
    proto, spec = build(job)
    write_onnx(proto, path)
    return spec


def build(job: Job) -> tuple[Any, ModelSpec]:
    """Return the `onnx.ModelProto` of `job` and its spec."""
    network: nn.Module
    if isinstance(job.source, SSD):
        network = inference_copy(job.source, job.spec)
        if job.precision == "fp16":
            network = Half(network)
    else:
        network = job.source.converted(batch=job.batch, fold=True)
    spec = msgspec.structs.replace(job.spec, precision=job.precision, output=OutputSpec())
    proto = trace(network, spec, opset=job.opset, batch=job.batch)
    if job.precision == "int8":
        unsigned_activations(proto)
        drop_products_with_constants(proto)
        integer_biases(proto)
        global_pools(proto)
        spec = _quantization(spec, activations="uint8", saturation_free=saturating_pairs(proto) == 0)
        if job.tensor == "uint8":
            take_bytes(proto, spec.input)
            spec = bytes_input(spec, layout="NHWC")
    spec = raise_to(proto, spec, job.output)
    describe(proto, spec)
    return proto, spec


def _quantization(spec: ModelSpec, **changes: Any) -> ModelSpec:
    assert spec.quantization is not None
    return msgspec.structs.replace(spec, quantization=msgspec.structs.replace(spec.quantization, **changes))


def write_onnx(proto: Any, path: str | os.PathLike[str]) -> None:
    """Write an `onnx.ModelProto`, whole or not at all. Raises ModelError where the file cannot be written."""
    try:
        write_bytes_atomic(path, proto.SerializeToString())
    except InputError as error:
        raise ModelError(str(error)) from None


def to_onnx(
    model: SSD, spec: ModelSpec, *, opset: int = 18, batch: int | Literal["dynamic"] = "dynamic", slim: bool = True
) -> Any:
    """Return the `onnx.ModelProto` that `export_onnx` writes."""
    proto = trace(inference_copy(model, spec), spec, opset=opset, batch=batch, slim=slim)
    describe(proto, spec)
    return proto


def trace(
    network: nn.Module,
    spec: ModelSpec,
    *,
    opset: int = 18,
    batch: int | Literal["dynamic"] = "dynamic",
    slim: bool = True,
) -> Any:
    """Return the checked `onnx.ModelProto` of a network with one input and the outputs of `spec.output`."""
    onnx, onnxslim = _import_onnx()
    # Two pictures: torch.export takes a size of one for a constant even where it is declared dynamic.
    count = 2 if batch == "dynamic" else batch
    device = next((value.device for value in network.parameters()), torch.device("cpu"))
    example = torch.zeros(count, *spec.input.tensor_shape, device=device)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=65535)},) if batch == "dynamic" else None
    with quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=[INPUT_NAME],
            output_names=list(spec.output.names),
            dynamic_shapes=dynamic,
        )
        assert program is not None
        proto = program.model_proto
        if slim:
            proto = onnxslim.slim(proto)
    fold_paddings(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def fold_paddings(proto: Any) -> None:
    """Move every constant zero padding of a map's borders into the convolution behind it, in place.

    ONNX convolutions pad each side on its own, so TensorFlow's SAME needs no node.
    """
    import numpy as np
    import onnx

    constants = {value.name: value for value in proto.graph.initializer}
    made = {name: node for node in proto.graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    outputs = {value.name for value in proto.graph.output}
    folded = set()
    for node in proto.graph.node:
        pad = made.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None or pad.op_type != "Pad" or readers[pad.output[0]] != 1 or pad.output[0] in outputs:
            continue
        amounts = constants.get(pad.input[1])
        fill = constants.get(pad.input[2]) if len(pad.input) > 2 and pad.input[2] else None
        mode = next((onnx.helper.get_attribute_value(a) for a in pad.attribute if a.name == "mode"), b"constant")
        known_fill = not (len(pad.input) > 2 and pad.input[2]) or fill is not None
        if amounts is None or not known_fill or mode != b"constant" or (len(pad.input) > 3 and pad.input[3]):
            continue
        if fill is not None and np.any(onnx.numpy_helper.to_array(fill)):
            continue
        values = onnx.numpy_helper.to_array(amounts).tolist()
        axes = len(values) // 2
        begin, end = values[:axes], values[axes:]
        if axes != 4 or any(begin[:2]) or any(end[:2]) or min(values) < 0:
            continue
        attribute = {a.name: a for a in node.attribute}
        if "auto_pad" in attribute and attribute["auto_pad"].s not in (b"", b"NOTSET"):
            continue
        own = list(attribute["pads"].ints) if "pads" in attribute else [0, 0, 0, 0]
        total = [a + b for a, b in zip(own, [*begin[2:], *end[2:]], strict=True)]
        if "pads" in attribute:
            node.attribute.remove(attribute["pads"])
        node.attribute.append(onnx.helper.make_attribute("pads", total))
        node.input[0] = pad.input[0]
        folded.add(pad.output[0])
    kept = [node for node in proto.graph.node if node.output[0] not in folded]
    if folded:
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        used = {name for node in kept for name in node.input} | outputs
        initializers = [value for value in proto.graph.initializer if value.name in used]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(initializers)
        infos = [value for value in proto.graph.value_info if value.name not in folded]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(infos)


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch.onnx needs it
        import onnxslim
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "export") from None
    return onnx, onnxslim
