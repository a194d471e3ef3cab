"""TIFF and BigTIFF, and EXIF, whose blocks are small TIFF files."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import NamedTuple

from edgessd.io.headers.view import Cut, Header, View

WIDTH, LENGTH, BITS, ORIENTATION, SAMPLES = 256, 257, 258, 274, 277
TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT = 322, 323, 339
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}  # the whole numbers
_ENTRIES, _VALUES = 4096, 64  # of a directory, and of an entry, that are read
_COMMON = 4 * 8  # bits of a pixel that a decoder of ordinary pictures makes room for


class _Form(NamedTuple):
    """Layout of a directory: byte order, and the forms of the number of entries and of offsets."""

    order: str
    entries: str
    offset: str


def directory(view: View) -> dict[int, list[int]]:
    """Return the whole numbers of the first directory by tag; the largest where a tag stands twice. Raises Cut."""
    magic = view.bytes(0, 4)
    order = {b"II": "<", b"MM": ">"}[magic[:2]]
    big = magic[2:] in (b"+\0", b"\0+")
    form = _Form(order, "Q" if big else "H", "Q" if big else "I")
    (position,) = view.numbers(8 if big else 4, order + form.offset)
    (entries,) = view.numbers(position, order + form.entries)
    found: dict[int, list[int]] = {}
    position += 8 if big else 2
    for _ in range(min(entries, _ENTRIES)):
        tag, values = _entry(view, position, form)
        found[tag] = max(found.get(tag, []), values)
        position += 20 if big else 12
    return found


def _entry(view: View, position: int, form: _Form) -> tuple[int, list[int]]:
    tag, kind, count = view.numbers(position, f"{form.order}HH{form.offset}")
    letter = _TYPES.get(kind)
    if letter is None:
        return tag, []
    start = position + (12 if form.offset == "Q" else 8)
    width = {"B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4}.get(letter, 8)
    if count * width > (8 if form.offset == "Q" else 4):
        (start,) = view.numbers(start, form.order + form.offset)
    try:
        return tag, list(view.numbers(start, f"{form.order}{min(count, _VALUES)}{letter}"))
    except Cut:  # elsewhere, and not there: only this entry is of no use
        return tag, []


def tiff(view: View) -> Header:
    """Read the first page of a TIFF."""
    tags = directory(view)
    width, height = tags[WIDTH][0], tags[LENGTH][0]
    depth, samples = max(tags.get(BITS) or [1]), max([1, *tags.get(SAMPLES, [])])
    tile = max([0, *tags.get(TILE_WIDTH, [])]) * max([0, *tags.get(TILE_LENGTH, [])])
    return Header(
        width,
        height,
        _valid_orientation(tags.get(ORIENTATION)) or 1,
        room=max(width * height, tile) * max(_COMMON, depth * samples) // _COMMON,
        samples=samples,
        depth=depth,
        floating=3 in tags.get(SAMPLE_FORMAT, []),
    )


def exif_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation (1..8) that an EXIF block gives, else that of an XMP packet, else 1."""
    block = exif.removeprefix(b"Exif\0\0")
    tags: dict[int, list[int]] = {}
    with suppress(Cut, KeyError):
        tags = directory(View(io.BytesIO(block)))
    if ORIENTATION in tags:
        return _valid_orientation(tags[ORIENTATION]) or 1
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp)
    return int(found[1]) if found else 1


def _valid_orientation(values: list[int] | None) -> int | None:
    return values[0] if values and 1 <= values[0] <= 8 else None
