"""TFLite files, by litert-torch: NHWC, one picture at a time, with the spec and the labels inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from edgessd.errors import InputError, ModelError, missing_extra
from edgessd.export.job import Job, bytes_input
from edgessd.io.files import scratch_folder, write_bytes_atomic
from edgessd.models.ssd import SSD
from edgessd.quantization.capture import inference_copy
from edgessd.quantization.quiet import quiet
from edgessd.spec import ModelSpec

# litert-torch prints its steps; what its C++ half logs is dropped by the command line (`edgessd.cli.noise`).
os.environ.setdefault("LITERT_TORCH_SHOW_PROGRESS", "n")


def export(job: Job, path: Path) -> ModelSpec:
    """Write what `job` asks for and return the spec of the file."""
    data, spec = build(job)
    try:
        write_bytes_atomic(path, data)
    except InputError as error:
        raise ModelError(str(error)) from None
    return spec


def build(job: Job) -> tuple[bytes, ModelSpec]:
    """Return the bytes of the file that `job` asks for, and its spec.

    Raises ModelError, with what litert-torch says, where it cannot convert the network.
    """
    from edgessd.export import tflite_file as edit

    integer = not isinstance(job.source, SSD)
    network: nn.Module
    if isinstance(job.source, SSD):
        network = inference_copy(job.source, job.spec)
    else:
        network = job.source.converted(batch=1, fold=False)
    spec = msgspec.structs.replace(job.spec, precision=job.precision)
    spec = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, layout="NHWC"))
    data = _convert(network, spec, quantized=integer)
    if job.precision == "fp16":
        data = _half_weights(data)
    if integer:
        data = edit.fold_paddings(data)
    level = job.output.level
    if level == "decoded":
        data = edit.append_decoding(data, spec)
    if level == "nms":
        data = edit.append_detection_postprocess(data, spec)
    spec = msgspec.structs.replace(spec, output=job.output)
    if integer:
        scale, zero_point = 1 / spec.input.scale[0], round(spec.input.mean[0])
        if job.tensor == "int8":
            spec = bytes_input(spec, layout="NHWC", signed=True)
        elif job.tensor == "uint8":
            data = edit.take_bytes(data, "uint8", scale, zero_point)
            spec = bytes_input(spec, layout="NHWC")
        else:
            data = edit.take_bytes(data, "float32", scale, zero_point)
    elif job.tensor == "uint8" or (level == "nms" and _differs_by_channel(spec)):
        # MediaPipe refuses float32 inputs that it would have to normalise channel by channel.
        data = edit.normalize_inside(data, spec.input)
        spec = msgspec.structs.replace(spec, input=edit.picture_input(spec.input))
    data = edit.describe(data, spec)
    return edit.add_phone_metadata(data, spec), spec


def _differs_by_channel(spec: ModelSpec) -> bool:
    return len(set(spec.input.mean)) > 1 or len(set(spec.input.scale)) > 1


def _convert(network: nn.Module, spec: ModelSpec, *, quantized: bool) -> bytes:
    litert_torch = _import("litert_torch")
    options: dict[str, Any] = {}
    if quantized:
        # Only a flag here, which says that the graph is statically quantised: the quantisation is ours.
        quantizer = _import("litert_torch.quantize.pt2e_quantizer")
        config = _import("litert_torch.quantize.quant_config")
        symmetric = quantizer.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        options["quant_config"] = config.QuantConfig(pt2e_quantizer=quantizer.PT2EQuantizer().set_global(symmetric))
    wrapper = litert_torch.to_channel_last_io(network, args=[0])
    wrapper.training = False
    example = torch.zeros(1, *spec.input.tensor_shape)
    with scratch_folder() as folder:
        file = folder / "model.tflite"
        try:
            with quiet():
                litert_torch.convert(wrapper, (example,), **options).export(str(file))
            data = file.read_bytes()
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # jax, MLIR and torch raise many kinds of their own
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ModelError(f"litert-torch cannot convert {spec.name!r}: {line}") from error
    if not data:
        raise ModelError(f"litert-torch wrote an empty file for {spec.name!r}")
    return data


def _half_weights(data: bytes) -> bytes:
    """Store the weights as float16; runtimes turn them into float32 when they load the file."""
    quantizer = _import("ai_edge_quantizer.quantizer")
    recipe = _import("ai_edge_quantizer.recipe_manager")
    types = _import("ai_edge_quantizer.qtyping")
    algorithms = _import("ai_edge_quantizer.algorithm_manager")
    manager = recipe.RecipeManager()
    manager.add_quantization_config(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        op_config=types.OpQuantizationConfig(
            weight_tensor_config=types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT),
            compute_precision=types.ComputePrecision.FLOAT,
        ),
        algorithm_key=algorithms.AlgorithmName.FLOAT_CASTING,
    )
    with quiet():
        result = quantizer.Quantizer(bytearray(data), manager.get_quantization_recipe()).quantize()
    return bytes(result.quantized_model)


def _import(name: str) -> Any:
    import importlib
    import warnings

    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "export") from None
