"""A TFLite file taken apart, changed and written again.

A file is a flatbuffer (schema: ai_edge_litert's) and, behind it, a zip with associated files such as labels.
Every public function of this package is bytes -> bytes; this is what they have in common.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from edgessd.errors import ModelError, missing_extra

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError as error:
    raise missing_extra(str(error.name), "export") from None

__all__ = ["Editor", "attached_files", "schema", "text"]

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
ALIGNMENT = 16

# Operators whose options are not called by their own name.
_OPTIONS = {
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "REDUCE_MIN": "ReducerOptions",
}
_TYPES = {"float32": "FLOAT32", "int32": "INT32", "int8": "INT8", "uint8": "UINT8", "bool": "BOOL"}
_DTYPES = {getattr(schema.TensorType, name): dtype for dtype, name in _TYPES.items()}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes begin at a multiple of 16, as the schema asks and the generated code forgets."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802  the generated name
        data = None if self.data is None else np.asarray(self.data, np.uint8).tobytes()
        if data:
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if data:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


class Editor:
    """One TFLite file in parts: `model`, its main `graph`, and `attached` (name -> content of the zip behind it).

    Raises ModelError for bytes that are not a TFLite file.
    """

    def __init__(self, data: bytes) -> None:
        if data[4:8] != IDENTIFIER:
            raise ModelError("not a TFLite file: its identifier is missing")
        try:
            self.model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
            self.graph = self.model.subgraphs[0]
        except (struct.error, IndexError, TypeError, ValueError) as error:
            raise ModelError(f"the TFLite file is damaged: {error}") from None
        for buffer in self.model.buffers:
            if buffer.size:  # some tools keep the data of constants behind the flatbuffer
                if not 0 < buffer.offset <= len(data) - buffer.size:
                    raise ModelError("the TFLite file is damaged: the data of a constant lies outside of it")
                buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
        self.attached = attached_files(data)

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def operators(self) -> list[Any]:
        """The operators of the main graph, in the order of execution."""
        return self.graph.operators  # type: ignore[no-any-return]

    def kind(self, operator: Any) -> int:
        """The `BuiltinOperator` of an operator."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor."""
        shape = self.graph.tensors[tensor].shape
        return () if shape is None else tuple(int(side) for side in shape)

    def dtype(self, tensor: int) -> str:
        """Numpy's name of a tensor's type, such as `int8`; of types unknown here, their number."""
        code = self.graph.tensors[tensor].type
        return _DTYPES.get(code, f"type {code}")

    def scale(self, tensor: int) -> tuple[float, int]:
        """(scale, zero point) of a tensor quantised as a whole. Raises ModelError for others."""
        found = self.graph.tensors[tensor].quantization
        if found is None or found.scale is None or len(found.scale) != 1:
            raise ModelError(f"tensor {self.name(tensor)!r} of the TFLite file has no single quantisation scale")
        zero = 0 if found.zeroPoint is None else int(found.zeroPoint[0])
        return float(found.scale[0]), zero

    def name(self, tensor: int) -> str:
        """Name of a tensor."""
        return text(self.graph.tensors[tensor].name)

    def constant_value(self, tensor: int) -> NDArray[Any] | None:
        """The values of a constant tensor, or None where it is computed."""
        data = self.model.buffers[self.graph.tensors[tensor].buffer].data
        if data is None or not len(data) or self.dtype(tensor) not in _TYPES:
            return None
        return np.frombuffer(bytes(data), self.dtype(tensor)).reshape(self.shape(tensor))

    def producers(self) -> dict[int, Any]:
        """Which operator makes a tensor."""
        return {int(out): operator for operator in self.operators for out in operator.outputs}

    def readers(self) -> dict[int, list[Any]]:
        """Which operators read a tensor."""
        found: dict[int, list[Any]] = {}
        for operator in self.operators:
            for tensor in {int(index) for index in operator.inputs if index >= 0}:
                found.setdefault(tensor, []).append(operator)
        return found

    # -- changing --------------------------------------------------------------------------------------------

    def buffer(self, data: bytes) -> int:
        """Add a buffer; return its index."""
        new = schema.BufferT()
        new.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(new)
        return len(self.model.buffers) - 1

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Add a constant tensor; return its index."""
        index = self.tensor(name, values.shape, str(values.dtype))
        self.graph.tensors[index].buffer = self.buffer(np.ascontiguousarray(values).tobytes())
        return index

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        quantization: tuple[float, int] | None = None,
    ) -> int:
        """Add a tensor; return its index."""
        new = schema.TensorT()
        new.name = name
        new.shape = np.array(shape, np.int32)
        new.type = getattr(schema.TensorType, _TYPES[dtype])
        new.hasRank = True
        new.buffer = 0  # the first buffer is empty by the schema
        if quantization is not None:
            new.quantization = schema.QuantizationParametersT()
            new.quantization.scale = np.array([quantization[0]], np.float32)
            new.quantization.zeroPoint = np.array([quantization[1]], np.int64)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: Iterable[int],
        outputs: Iterable[int],
        *,
        version: int = 1,
        first: bool = False,
        **options: Any,
    ) -> Any:
        """Add a builtin operator behind all others, or in front of them; return it."""
        new = schema.OperatorT()
        new.opcodeIndex = self._code(getattr(schema.BuiltinOperator, kind), version)
        new.inputs, new.outputs = np.array(list(inputs), np.int32), np.array(list(outputs), np.int32)
        name = _OPTIONS.get(kind, kind.title().replace("_", "") + "Options")
        if hasattr(schema.BuiltinOptions, name):  # some operators have none
            new.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            new.builtinOptions = getattr(schema, f"{name}T")()
            for key, value in options.items():
                setattr(new.builtinOptions, key, value)
        self.operators.insert(0 if first else len(self.operators), new)
        return new

    def custom_operator(self, code: str, inputs: Iterable[int], outputs: Iterable[int], options: bytes) -> Any:
        """Add a custom operator behind all others; return it. options: a flexbuffer."""
        new = schema.OperatorT()
        new.opcodeIndex = self._code(schema.BuiltinOperator.CUSTOM, 1, code)
        new.inputs, new.outputs = np.array(list(inputs), np.int32), np.array(list(outputs), np.int32)
        new.customOptions = np.frombuffer(options, np.uint8)
        self.operators.append(new)
        return new

    def node(
        self,
        kind: str,
        inputs: Iterable[int],
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        version: int = 1,
        **options: Any,
    ) -> int:
        """Add a builtin operator with one output behind all others; return the output tensor."""
        result = self.tensor(name, shape, dtype)
        self.operator(kind, inputs, [result], version=version, **options)
        return result

    def _code(self, builtin: int, version: int, custom: str | None = None) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            same = max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and text(code.customCode) == (
                custom or ""
            )
            if same and code.version == version:
                return index
        new = schema.OperatorCodeT()
        new.builtinCode, new.deprecatedBuiltinCode, new.version = builtin, min(builtin, 127), version
        new.customCode = custom
        self.model.operatorCodes.append(new)
        return len(self.model.operatorCodes) - 1

    def interface(
        self, inputs: Mapping[str, int], outputs: Mapping[str, int], keys: Mapping[str, str] | None = None
    ) -> None:
        """Make these tensors, under these names and in this order, the inputs and outputs of file and signature.

        keys: what the signature calls an output, where that is not its name.
        """
        for name, index in (*inputs.items(), *outputs.items()):
            for tensor in self.graph.tensors:  # names of tensors should be unique
                if text(tensor.name) == name:
                    tensor.name = f"{name}_inside"
            self.graph.tensors[index].name = name
        self.graph.inputs = np.array(list(inputs.values()), np.int32)
        self.graph.outputs = np.array(list(outputs.values()), np.int32)
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs = [_entry(name, index) for name, index in inputs.items()]
        signature.outputs = [_entry((keys or {}).get(name, name), index) for name, index in outputs.items()]
        self.model.signatureDefs = [signature]

    def inputs(self) -> dict[str, int]:
        """Name and index of each input, in order."""
        return {self.name(index): int(index) for index in self.graph.inputs}

    def outputs(self) -> dict[str, int]:
        """Name and index of each output, in order."""
        return {self.name(index): int(index) for index in self.graph.outputs}

    def set_metadata(self, name: str, data: bytes) -> None:
        """Put a metadata entry into the model, in the place of one of the same name."""
        entries = self.model.metadata = [] if self.model.metadata is None else self.model.metadata
        for entry in entries:
            if text(entry.name) == name:
                self.model.buffers[entry.buffer].data = np.frombuffer(data, np.uint8)
                return
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self.buffer(data)
        entries.append(entry)

    # -- writing ---------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Write the file: the flatbuffer, and the attached files as an uncompressed zip behind it."""
        for buffer in self.model.buffers:
            buffer.__class__ = _AlignedBuffer
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=IDENTIFIER)
        data = bytes(builder.Output())
        return data + _zip(self.attached, len(data)) if self.attached else data


def text(value: bytes | str | None) -> str:
    """A flatbuffer's string as str; empty for None."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value or ""


def attached_files(data: bytes) -> dict[str, bytes]:
    """Return the files of the zip behind a TFLite file, by name; empty where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def _zip(files: Mapping[str, bytes], offset: int) -> bytes:
    """A zip that stands `offset` bytes into a file: stored, without dates, its offsets from the file's beginning."""
    stream = io.BytesIO()
    stream.seek(offset)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()[offset:]


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
