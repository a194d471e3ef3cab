"""Text that users write, as their editors and shells leave it: lists, labels, options, passwords, JSON, YAML.

Windows writes a byte order mark in front and two characters at a line's end, its PowerShell UTF-16; a reader that minds
finds a first picture whose name looks right and is not there.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgessd.errors import InputError, printable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> str:
    """Return UTF-8, or UTF-16 with its mark, as text without the mark; lines end in LF. Raises UnicodeDecodeError."""
    text = data.decode(_encoding(data))
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decode_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces, as `decode` reads them. Raises UnicodeError."""
    decoder: io.IncrementalNewlineDecoder | None = None
    rest = ""
    for chunk in chunks:
        if decoder is None:
            inner = codecs.getincrementaldecoder(_encoding(chunk))()
            decoder = io.IncrementalNewlineDecoder(inner, translate=True)
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        yield from lines
    yield from (rest + (decoder.decode(b"", final=True) if decoder is not None else "")).split("\n")


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file, see `decode`. Raises InputError where it cannot be read, or is no text."""
    try:
        return decode(Path(path).read_bytes())
    except (OSError, ValueError) as error:  # ValueError: no text, or a NUL in the name
        raise InputError(f"{printable(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a text file that hold something, without blanks around them. Raises InputError."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def _encoding(data: bytes) -> str:
    return next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
