"""What an exporter is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec, OutputSpec

if TYPE_CHECKING:
    from edgessd.quantization.network import QuantizedNetwork

Precision = Literal["fp32", "fp16", "int8"]
Tensor = Literal["float32", "uint8", "int8"]


@dataclass(frozen=True)
class Job:
    """One export: a float network or a quantised one, and what its file is to be.

    spec: of the source; its input is float32 NCHW. output: level and layout. tensor: type of the file's input.
    batch: pictures at a time.
    """

    source: SSD | QuantizedNetwork
    spec: ModelSpec
    precision: Precision
    output: OutputSpec
    tensor: Tensor = "float32"
    batch: int | Literal["dynamic"] = "dynamic"
    opset: int = 18


def bytes_input(spec: ModelSpec, *, layout: Literal["NCHW", "NHWC"], signed: bool = False) -> ModelSpec:
    """Return the spec of a file that takes the picture's bytes as they are, for one whose input is centred."""
    tensor = spec.input
    zero_point = round(tensor.mean[0])
    changed = msgspec.structs.replace(
        tensor,
        layout=layout,
        dtype="int8" if signed else "uint8",
        quantization_scale=1 / tensor.scale[0],
        quantization_zero_point=zero_point - 128 if signed else zero_point,
    )
    return msgspec.structs.replace(spec, input=changed)
