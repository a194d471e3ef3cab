"""safetensors files: the spec in the header, without safetensors or torch.

A file starts with the header's length (eight bytes, little endian), then the header as a JSON object
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from edgessd.errors import ModelError, printable
from edgessd.model_file.readers.facts import FileFacts, damaged
from edgessd.spec import METADATA_KEY

MAX_HEADER = 25_000_000
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8", "U8": "uint8"}


class _Tensor(Struct):
    dtype: str
    data_offsets: tuple[int, int]


def read_safetensors(path: str | Path) -> FileFacts:
    """Read a file's header. Raises ModelError, with the name of the file, where it does not hold together."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > MAX_HEADER:
                damaged("the length of its header")
            header = file.read(length)
        return parse_header(header, Path(path).stat().st_size - 8 - length)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ModelError(f"{printable(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ModelError as error:
        raise type(error)(f"{printable(path)}: {error}") from None


def parse_header(header: bytes, data_size: int) -> FileFacts:
    """Read a header, of a file that has `data_size` bytes behind it; see `read_safetensors`."""
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(entries.pop("__metadata__", b"{}"), type=dict[str, str])
        tensors = [msgspec.json.decode(entry, type=_Tensor) for entry in entries.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        damaged(f"its header: {printable(error)}")
    if any(not 0 <= low <= high <= data_size for low, high in (each.data_offsets for each in tensors)):
        damaged("weights are missing")
    spec = metadata.get(METADATA_KEY)
    return FileFacts(
        "torch",
        None if spec is None else spec.encode("utf-8", errors="replace"),
        weights=frozenset(_TYPES.get(each.dtype, "other") for each in tensors),
    )
