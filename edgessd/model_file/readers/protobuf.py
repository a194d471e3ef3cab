"""Protocol Buffers' wire format, read with every length checked (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

from edgessd.model_file.readers.facts import damaged

Value = int | memoryview

MAX_FIELDS = 1_000_000


class Reader:
    """Reads messages of one file; it visits at most `MAX_FIELDS` fields altogether."""

    def __init__(self) -> None:
        self.visited = 0

    def fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """Yield (field number, value) of a message: numbers as unsigned integers, all else as bytes."""
        position = 0
        while position < len(data):
            self.visited += 1
            if self.visited > MAX_FIELDS:
                damaged(f"more than {MAX_FIELDS:,} fields")
            key, position = _varint(data, position)
            wire, size = key & 7, 0
            if wire == 0:
                value, position = _varint(data, position)
                yield key >> 3, value
                continue
            if wire == 2:
                size, position = _varint(data, position)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                damaged(f"a field of unknown type {wire}")
            if size > len(data) - position:
                damaged("a field is longer than the file")
            yield key >> 3, data[position : position + size]
            position += size

    def parts(self, data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
        """Yield those of the fields with these numbers that are messages or texts."""
        for number, value in self.fields(data):
            if number in numbers and isinstance(value, memoryview):
                yield number, value


def text(data: memoryview, limit: int = 100_000) -> str:
    """Return a string; bytes that are no UTF-8 become question marks."""
    return bytes(data[:limit]).decode("utf-8", errors="replace")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, position + index + 1
    return damaged("a number has no end")
