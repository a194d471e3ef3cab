"""ONNX files: spec, labels, inputs and outputs, without onnx or onnxruntime.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgessd.errors import ModelError, printable
from edgessd.model_file.readers.facts import FileFacts, TensorFact, damaged, read_bytes
from edgessd.model_file.readers.protobuf import Reader, text
from edgessd.spec import MAX_JSON, METADATA_KEY

LABELS_KEY = "names"
LABELS_AT = "the metadata entry 'names'"

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "str", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 21: "uint4", 22: "int4",
}  # fmt: skip


def read_onnx(path: str | Path) -> FileFacts:
    """Read an ONNX file. Raises ModelError, with the name of the file, where it does not hold together."""
    try:
        return parse_onnx(read_bytes(path))
    except ModelError as error:
        raise type(error)(f"{printable(path)}: {error}") from None


def parse_onnx(data: bytes) -> FileFacts:
    """Read the bytes of an ONNX ModelProto; see `read_onnx`."""
    reader = Reader()
    graph = memoryview(b"")
    metadata: dict[str, memoryview] = {}
    for number, part in reader.parts(memoryview(data), 7, 14):
        if number == 7:
            graph = part
        else:
            entry = dict(reader.parts(part, 1, 2))
            metadata[text(entry.get(1, memoryview(b"")))] = entry.get(2, memoryview(b""))
    if not len(graph):
        damaged("no graph")
    inputs: list[TensorFact] = []
    outputs: list[TensorFact] = []
    constants: set[str] = set()
    weights: set[str] = set()
    for number, part in reader.parts(graph, 5, 11, 12):
        if number == 5:
            tensor = dict(reader.fields(part))
            kind, name = tensor.get(2), tensor.get(8)
            weights.add(_TYPES.get(kind, "other") if isinstance(kind, int) else "other")
            if isinstance(name, memoryview):
                constants.add(text(name))
        else:
            (inputs if number == 11 else outputs).append(_value(reader, part))
    spec = metadata.get(METADATA_KEY)
    if spec is not None and len(spec) > MAX_JSON:
        damaged(f"a spec of {len(spec):,} bytes")
    return FileFacts(
        "onnx",
        None if spec is None else bytes(spec),
        tuple(each for each in inputs if each.name not in constants),  # old files list constants as inputs, too
        tuple(outputs),
        _labels(metadata.get(LABELS_KEY)),
        LABELS_AT,
        frozenset(weights),
    )


def _value(reader: Reader, data: memoryview) -> TensorFact:
    """Read a ValueInfoProto."""
    fields = dict(reader.parts(data, 1, 2))
    tensor = dict(reader.parts(fields.get(2, memoryview(b"")), 1)).get(1, memoryview(b""))
    described = dict(reader.fields(tensor))
    kind, shape = described.get(1), described.get(2)
    sizes: list[int | None] | None = None
    if isinstance(shape, memoryview):
        sizes = []
        for _, dimension in reader.parts(shape, 1):
            size = dict(reader.fields(dimension)).get(1)
            sizes.append(size if isinstance(size, int) and size < 2**31 else None)
    return TensorFact(
        text(fields.get(1, memoryview(b""))),
        None if sizes is None else tuple(sizes),
        _TYPES.get(kind, "other") if isinstance(kind, int) else "other",
    )


def _labels(data: memoryview | None) -> tuple[str, ...] | None:
    """Read {"0": name, ...}; None for anything else."""
    if data is None or len(data) > MAX_JSON:
        return None
    try:
        table = msgspec.json.decode(data, type=dict[str, str])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    names = tuple(table.get(str(label)) for label in range(len(table)))
    return None if None in names else tuple(name for name in names if name is not None)
