"""FlatBuffers, read with every offset checked (https://flatbuffers.dev/internals).

A table starts with the distance to its vtable, which says where each field lies. Reading never leaves the
buffer. Tables and lists may be shared, so a small file could be a huge tree: `MAX_TABLES` bounds how many
tables are visited, `MAX_COPIED` how many bytes of texts and lists are copied out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgessd.model_file.readers.facts import damaged

MAX_TABLES = 200_000
MAX_COPIED = 100_000_000

Buffer = bytes | memoryview


class FlatBuffer:
    """A buffer with a root table. identifier: the four bytes that must follow the root's offset."""

    def __init__(self, data: Buffer, identifier: bytes) -> None:
        self.data = data
        self.visited = self.copied = 0
        if len(data) < 8 or bytes(data[4:8]) != identifier:
            damaged(f"no {identifier.decode()} at its start")
        self.root = Table(self, self.unpack("<I", 0))

    def unpack(self, form: str, position: int) -> int:
        """Read one integer. Raises ModelError outside of the buffer."""
        if position < 0 or position + struct.calcsize(form) > len(self.data):
            damaged("an offset leads out of the file")
        value: int = struct.unpack_from(form, self.data, position)[0]
        return value

    def copying(self, size: int) -> None:
        """Note that `size` bytes are copied out."""
        self.copied += size
        if self.copied > MAX_COPIED:
            damaged(f"more than {MAX_COPIED:,} bytes of texts and lists")

    def vector(self, position: int, size: int) -> tuple[int, int]:
        """Return start and number of elements, of `size` bytes each, of the vector at `position`."""
        count = self.unpack("<I", position)
        start = position + 4
        if count * size > len(self.data) - start:
            damaged("a list is longer than the file")
        return start, count


class Table:
    """One table. Fields are numbered from 0 in the order of the schema; a field that is not there has its default."""

    def __init__(self, buffer: FlatBuffer, position: int) -> None:
        buffer.visited += 1
        if buffer.visited > MAX_TABLES:
            damaged(f"more than {MAX_TABLES:,} tables")
        self._buffer, self._position = buffer, position
        self._vtable = position - buffer.unpack("<i", position)
        self._vtable_size = buffer.unpack("<H", self._vtable)
        size = buffer.unpack("<H", self._vtable + 2)
        if (
            self._vtable_size < 4
            or self._vtable_size % 2
            or self._vtable + self._vtable_size > len(buffer.data)
            or size < 4
            or position + size > len(buffer.data)
        ):
            damaged("a table does not fit into the file")
        self._size = size

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self._vtable_size:
            return None
        offset = self._buffer.unpack("<H", self._vtable + entry)
        if offset >= self._size:
            damaged("a field lies outside of its table")
        return self._position + offset if offset else None

    def _target(self, number: int) -> int | None:
        position = self._field(number)
        return None if position is None else position + self._buffer.unpack("<I", position)

    def integer(self, number: int, form: str = "i", default: int = 0) -> int:
        """Read a scalar. form: a letter of `struct`, such as b (int8), B, i, I, q or Q."""
        position = self._field(number)
        return default if position is None else self._buffer.unpack("<" + form, position)

    def has(self, number: int) -> bool:
        """Whether the field is there."""
        return self._field(number) is not None

    def data(self, number: int) -> memoryview | None:
        """Return a vector of bytes, or None where the field is not there."""
        position = self._target(number)
        if position is None:
            return None
        start, count = self._buffer.vector(position, 1)
        return memoryview(self._buffer.data)[start : start + count]

    def numbers(self, number: int, dtype: str) -> NDArray[np.generic]:
        """Return a vector of numbers, such as `<i4` or `<f4`; empty where the field is not there."""
        position = self._target(number)
        if position is None:
            return np.empty(0, dtype)
        start, count = self._buffer.vector(position, np.dtype(dtype).itemsize)
        return np.frombuffer(self._buffer.data, dtype, count, start)

    def integers(self, number: int) -> list[int]:
        """Return a vector of int32 as a list."""
        values = self.numbers(number, "<i4")
        self._buffer.copying(values.nbytes)
        return [int(value) for value in values.tolist()]

    def text(self, number: int) -> str:
        """Return a string, empty where the field is not there. Raises ModelError for bytes that are no UTF-8."""
        data = self.data(number)
        if data is None:
            return ""
        self._buffer.copying(len(data))
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            return damaged("a name is no text")

    def table(self, number: int) -> Table | None:
        """Return a table, or None where the field is not there."""
        position = self._target(number)
        return None if position is None else Table(self._buffer, position)

    def tables(self, number: int) -> Iterator[Table]:
        """Yield the tables of a vector; none where the field is not there."""
        position = self._target(number)
        if position is None:
            return
        start, count = self._buffer.vector(position, 4)
        for entry in range(start, start + 4 * count, 4):
            yield Table(self._buffer, entry + self._buffer.unpack("<I", entry))
