"""Size and orientation of a picture, from the headers of its file alone: nothing is decoded.

A decoder finds the size out too late (after taking the memory), or takes another header's word for it, so every
place of a file that can make a decoder take memory is read here. What cannot be read here is not decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

from edgessd.io import formats
from edgessd.io.headers import chunks, iso, plain, tiff
from edgessd.io.headers.view import Cut, Header, View

__all__ = ["Header", "read_header"]

_READERS: dict[str, Callable[[View], Header]] = {
    formats.JPEG: chunks.jpeg,
    formats.PNG: chunks.png,
    formats.WEBP: chunks.webp,
    formats.GIF: plain.gif,
    formats.BMP: plain.bmp,
    formats.PNM: plain.pnm,
    formats.TIFF: tiff.tiff,
    formats.AVIF: iso.avif,
    formats.JP2: iso.jp2,
}


def read_header(file: BinaryIO | bytes) -> Header | None:
    """Return what the headers of a picture say, None where they say no size: damaged, cut, or no picture.

    file: open for reading, and able to seek; only the headers are read.
    """
    view = View(io.BytesIO(file) if isinstance(file, bytes) else file)
    kind = formats.sniff(view.up_to(0, formats.HEAD))
    if kind is None:
        return None
    try:
        return _READERS[kind](view)
    except (Cut, struct.error, ValueError, IndexError, KeyError):
        return None
