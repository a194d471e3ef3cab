"""Types of inputs and outputs: bytes in, floats out, whatever the network inside computes with."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgessd.errors import ModelError
from edgessd.export.tflite_file.editor import Editor
from edgessd.spec import InputSpec


def take_bytes(
    data: bytes,
    dtype: Literal["uint8", "float32"] = "uint8",
    scale: float | None = None,
    zero_point: int | None = None,
) -> bytes:
    """Return the file of an int8 network with an input of another type: one QUANTIZE operator in front.

    uint8: scale and zero point of the new input; None takes the network's own (and its zero point + 128), for
    which the operator is exact: it flips one bit of every value. float32: the input is what the network was
    trained with, scale and zero point are not used.

    Raises ModelError where the input is not int8.
    """
    editor = Editor(data)
    ((name, inside),) = editor.inputs().items()
    if editor.dtype(inside) != "int8":
        raise ModelError(f"the input of the TFLite file is {editor.dtype(inside)}, not int8: it cannot be requantised")
    own_scale, own_zero = editor.scale(inside)
    quantization = None
    if dtype == "uint8":
        quantization = (own_scale if scale is None else scale, own_zero + 128 if zero_point is None else zero_point)
    outside = editor.tensor("taken", editor.shape(inside), dtype, quantization)
    # Version 1 of the operator is for floats; requantising came with version 2.
    editor.operator("QUANTIZE", [outside], [inside], version=1 if dtype == "float32" else 2, first=True)
    editor.interface({name: outside}, editor.outputs())
    return editor.to_bytes()


def normalize_inside(data: bytes, spec: InputSpec) -> bytes:
    """Return the file of a float network with an input of bytes: it subtracts the mean and divides by the scale.

    The input becomes uint8 with scale 1 and zero point 0, the picture as it is. `spec` is the network's own
    (float32, NHWC); its mean and scale may differ by channel. `picture_input(spec)` is that of the new file.

    Raises ModelError where the input is not float32.
    """
    editor = Editor(data)
    ((name, inside),) = editor.inputs().items()
    if editor.dtype(inside) != "float32":
        raise ModelError(f"the input of the TFLite file is {editor.dtype(inside)}, not float32")
    shape = editor.shape(inside)
    outside = editor.tensor("taken", shape, "uint8", (1.0, 0))
    # (p - mean) / scale in one rounding less: p * (1 / scale) + (-mean / scale).
    factor = editor.constant("image_factor", (1 / np.array(spec.scale)).astype(np.float32))
    shift = editor.constant("image_shift", (-np.array(spec.mean) / np.array(spec.scale)).astype(np.float32))
    pixels, scaled = editor.tensor("image_float", shape), editor.tensor("image_scaled", shape)
    editor.operator("ADD", [scaled, shift], [inside], first=True)
    editor.operator("MUL", [pixels, factor], [scaled], first=True)
    types = {"inDataType": editor.graph.tensors[outside].type, "outDataType": editor.graph.tensors[pixels].type}
    editor.operator("CAST", [outside], [pixels], first=True, **types)
    editor.interface({name: outside}, editor.outputs())
    return editor.to_bytes()


def picture_input(spec: InputSpec) -> InputSpec:
    """Return the spec of an input that takes the resized picture's bytes and leaves the rest to the graph."""
    import msgspec

    return msgspec.structs.replace(
        spec,
        dtype="uint8",
        layout="NHWC",
        mean=(0.0, 0.0, 0.0),
        scale=(1.0, 1.0, 1.0),
        quantization_scale=1.0,
        quantization_zero_point=0,
    )


def to_float(editor: Editor, tensor: int) -> int:
    """Return a float32 tensor of the same values, made behind all operators; `tensor` itself where it is float."""
    if editor.dtype(tensor) == "float32":
        return tensor
    if editor.dtype(tensor) not in ("int8", "uint8"):
        raise ModelError(f"an output of the TFLite file is {editor.dtype(tensor)}: int8, uint8 and float32 are known")
    editor.scale(tensor)
    version = 2 if editor.dtype(tensor) == "int8" else 1
    name = f"{editor.name(tensor)}_float"
    return editor.node("DEQUANTIZE", [tensor], name, editor.shape(tensor), version=version)
