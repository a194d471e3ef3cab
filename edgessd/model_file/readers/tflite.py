"""TFLite files: spec, labels, inputs and outputs, and the detection operator, without an engine.

Field numbers are those of the public schemas (tensorflow/compiler/mlir/lite/schema/schema.fbs, and
tflite_support/metadata/metadata_schema.fbs for the standard metadata).
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from edgessd.classes.label_files import label_lines
from edgessd.errors import ModelError, printable
from edgessd.model_file.readers.facts import Detection, FileFacts, Shape, TensorFact, damaged, read_bytes
from edgessd.model_file.readers.flatbuffer import FlatBuffer, Table
from edgessd.model_file.readers.flexbuffer import read_flex_map
from edgessd.spec import MAX_JSON, METADATA_KEY

DETECTION = "TFLite_Detection_PostProcess"
STANDARD = "TFLITE_METADATA"
LABELS_AT = "the label file of the standard TFLite metadata"
MAX_LABEL_BYTES = 4_000_000
# The engine takes memory for what a file says, so it is told no nonsense: numbers in one tensor, and in all.
MAX_TENSOR = 2**27
MAX_NUMBERS = 2**30

_TYPES = (
    "float32", "float16", "int32", "uint8", "int64", "str", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16",
)  # fmt: skip
_CUSTOM = 32
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error)
_VALUE_LABELS = 3  # AssociatedFileType.TENSOR_VALUE_LABELS
_NORMALIZATION = 1  # ProcessUnitOptions.NormalizationOptions


def read_tflite(path: str | Path) -> FileFacts:
    """Read a TFLite file. Raises ModelError, with the name of the file, where it does not hold together."""
    try:
        return parse_tflite(read_bytes(path))
    except ModelError as error:
        raise type(error)(f"{printable(path)}: {error}") from None


def parse_tflite(data: bytes) -> FileFacts:
    """Read the bytes of a TFLite file; see `read_tflite`."""
    model = FlatBuffer(data, b"TFL3").root
    buffers = list(model.tables(4))
    codes = [code.text(1) if _code(code) == _CUSTOM else "" for code in model.tables(1)]
    metadata: dict[str, int] = {}
    for entry in model.tables(6):
        metadata.setdefault(entry.text(0), entry.integer(1, "I"))
    graphs = list(model.tables(2))
    if not graphs:
        damaged("no graph")
    tensors, inputs, outputs, detection, types = _graph(graphs[0], buffers, codes)
    for graph in graphs[1:]:
        types |= _graph(graph, buffers, codes)[4]
    spec = _content(data, buffers, metadata.get(METADATA_KEY), MAX_JSON)
    standard = _standard(_content(data, buffers, metadata.get(STANDARD), len(data)))
    return FileFacts(
        "tflite",
        spec,
        tuple(tensors[index] for index in inputs),
        tuple(tensors[index] for index in outputs),
        _labels(data, standard.label_file),
        LABELS_AT,
        frozenset(types),
        _signature_outputs(model, tensors),
        detection,
        standard.mean,
        standard.scale,
    )


def _code(code: Table) -> int:
    return max(code.integer(3, "i"), code.integer(0, "b"))


def _graph(
    graph: Table, buffers: list[Table], codes: list[str]
) -> tuple[list[TensorFact], list[int], list[int], Detection | None, set[str]]:
    """Read tensors, inputs, outputs, the detection operator, and the types of constants, and check all indices."""
    tensors, types = [], set()
    for table in graph.tables(0):
        buffer = table.integer(2, "I")
        if buffer >= len(buffers):
            damaged("a tensor's data is missing")
        tensor = _tensor(table)
        tensors.append(tensor)
        if buffer and (buffers[buffer].has(0) or buffers[buffer].integer(2, "Q")):
            types.add(tensor.dtype)
    sizes = [math.prod(size or 1 for size in tensor.shape or ()) for tensor in tensors]
    if max(sizes, default=0) > MAX_TENSOR or sum(sizes) > MAX_NUMBERS:
        damaged(f"tensors of {sum(sizes):,} numbers")
    inputs, outputs = graph.integers(1), graph.integers(2)
    _check_indices([*inputs, *outputs], len(tensors), lowest=0)
    detection = None
    for operator in graph.tables(3):
        code = operator.integer(0, "I")
        if code >= len(codes):
            damaged("an operator is unknown")
        taken, made = operator.integers(1), operator.integers(2)
        # -1 stands for an input that is left out, such as a bias; kernels do not look for it among the first two.
        _check_indices(taken[:2], len(tensors), lowest=0)
        _check_indices(taken[2:], len(tensors), lowest=-1)
        _check_indices(made, len(tensors), lowest=0)
        operator.table(4)  # its options, where it has any, lie within the file
        if codes[code] == DETECTION:
            if len(taken) != 3 or min(taken) < 0 or len(made) != 4 or not set(made) <= set(outputs):
                damaged(f"the inputs or outputs of {DETECTION}")
            options = operator.data(5)
            detection = Detection(
                tuple(tensors[index] for index in taken),
                tuple(outputs.index(index) for index in made),
                {} if options is None else read_flex_map(options),
            )
    return tensors, inputs, outputs, detection, types


def _check_indices(indices: list[int], count: int, lowest: int) -> None:
    if indices and not lowest <= min(indices) <= max(indices) < count:
        damaged("a tensor is missing")


def _tensor(table: Table) -> TensorFact:
    kind = table.integer(1, "b")
    dtype = _TYPES[kind] if 0 <= kind < len(_TYPES) else f"type {kind}"
    shape = _shape(table)
    quantization = table.table(4)
    if quantization is None:
        return TensorFact(table.text(3), shape, dtype)
    scales, zero_points = quantization.numbers(2, "<f4"), quantization.numbers(3, "<i8")
    if len(scales) != 1:
        return TensorFact(table.text(3), shape, dtype)
    return TensorFact(table.text(3), shape, dtype, float(scales[0]), int(zero_points[0]) if len(zero_points) else 0)


def _shape(table: Table) -> Shape | None:
    """Return the shape; the signature's -1 are free, and a tensor without any shape is unknown."""
    sizes, fixed = table.integers(7), table.integers(0)
    if min([*sizes, *fixed], default=0) < -1 or max(fixed, default=0) > MAX_TENSOR:
        damaged("the shape of a tensor")
    sizes = sizes or fixed
    if not sizes and not table.integer(8, "B"):
        return None
    return tuple(None if size < 0 else size for size in sizes)


def _content(data: bytes, buffers: list[Table], index: int | None, most: int) -> bytes | None:
    """Return the bytes of a metadata entry: in its buffer, or, in newer files, behind the flatbuffer."""
    if index is None:
        return None
    if index >= len(buffers):
        damaged("a metadata entry's data is missing")
    inside = buffers[index].data(0)
    if inside is None:
        start, size = buffers[index].integer(1, "Q"), buffers[index].integer(2, "Q")
        if start + size > len(data):
            damaged("a metadata entry's data leads out of the file")
        inside = memoryview(data)[start : start + size]
    if len(inside) > most:
        damaged(f"a metadata entry of {len(inside):,} bytes")
    return bytes(inside)


def _signature_outputs(model: Table, tensors: list[TensorFact]) -> dict[str, str]:
    """Return signature name -> tensor name for the outputs of the first graph's signatures."""
    names = {}
    for signature in model.tables(7):
        if signature.integer(4, "I"):
            continue
        for entry in signature.tables(1):
            index = entry.integer(1, "I")
            if index >= len(tensors):
                damaged("a signature's tensor is missing")
            names[entry.text(0)] = tensors[index].name
    return names


@dataclass(frozen=True)
class _Standard:
    label_file: str = ""
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def _standard(data: bytes | None) -> _Standard:
    """Read the standard metadata: normalisation of the input, and the label file of an output."""
    if data is None:
        return _Standard()
    label_file, mean, scale = "", (), ()  # type: tuple[str, tuple[float, ...], tuple[float, ...]]
    for graph in FlatBuffer(data, b"M001").root.tables(3):
        for tensor in graph.tables(2):
            for unit in tensor.tables(4):
                options = unit.table(1) if unit.integer(0, "B") == _NORMALIZATION else None
                if options is not None:
                    mean = tuple(map(float, options.numbers(0, "<f4")[:16].tolist()))
                    scale = tuple(map(float, options.numbers(1, "<f4")[:16].tolist()))
        for tensor in graph.tables(3):
            for file in tensor.tables(6):
                if file.integer(2, "b") == _VALUE_LABELS and not label_file:
                    label_file = file.text(0)
        break
    return _Standard(label_file, mean, scale)


def _labels(data: bytes, name: str) -> tuple[str, ...] | None:
    """Return the lines of a file in the zip archive behind the model; None where there is none."""
    if not name:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            info = archive.getinfo(name)
            if info.file_size > MAX_LABEL_BYTES:
                damaged(f"a label file of {info.file_size:,} bytes")
            with archive.open(info) as file:
                text = file.read(MAX_LABEL_BYTES)
    except KeyError:
        return None
    except (*_ZIP_ERRORS, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        damaged("the archive of associated files")
    return tuple(label_lines(text.decode("utf-8", errors="replace")))
