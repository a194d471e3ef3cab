"""What the readers of headers share: bytes by position, and what they return."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, NamedTuple


class Header(NamedTuple):
    """What the headers of a picture say.

    width, height: in pixels, of the picture as it is stored. orientation: how it is to be shown, as EXIF numbers it
    (1..8). room: pixels of the largest picture that a decoder may make on the way, at least width * height.
    whole: whether the end of the file is there, as far as its format tells. samples, depth, floating:
    of a TIFF: numbers in a pixel, bits of each, and whether they are floats.
    """

    width: int
    height: int
    orientation: int = 1
    room: int = 0
    whole: bool = True
    samples: int = 3
    depth: int = 8
    floating: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) in pixels as the picture is shown."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


class Cut(Exception):  # noqa: N818 (no error for the user: the file ends too early)
    """The file ends before what was asked for."""


class View:
    """Bytes of an open file by position."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def up_to(self, start: int, count: int) -> bytes:
        """Return at most `count` bytes from `start`, fewer at the end, none behind it."""
        if start >= self.size or count <= 0:
            return b""
        self._file.seek(start)
        return self._file.read(count)

    def bytes(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`. Raises Cut."""
        if count < 0 or start + count > self.size:
            raise Cut
        return self.up_to(start, count)

    def numbers(self, start: int, form: str) -> tuple[Any, ...]:
        """Return the numbers at `start`, laid out as `struct` says. Raises Cut."""
        return struct.unpack(form, self.bytes(start, struct.calcsize(form)))
