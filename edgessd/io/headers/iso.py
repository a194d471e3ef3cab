"""AVIF and JPEG 2000: boxes within boxes, as ISO's media files have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from edgessd.io.headers.av1 import frame_size
from edgessd.io.headers.view import Cut, Header, View

# EXIF's orientation for a turn anticlockwise by 0, 90, 180, 270 degrees (irot), and then a mirror (imir): none, of top
# and bottom, of left and right. ISO/IEC 23008-12, 6.5.10 and 6.5.12.
_TURNS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}
_MOST = 4096  # boxes, items and extents that are looked at
_START = 256  # bytes of a coded picture in which its sequence header stands


class _Box(NamedTuple):
    """A box: its name, and where what it holds starts and ends."""

    name: bytes
    start: int
    end: int


def _boxes(view: View, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes of a part of the file, none of them reaching out of it."""
    for _ in range(_MOST):
        if start + 8 > end:
            return
        length, name = view.numbers(start, ">I4s")
        head = 8
        if length == 1:
            (length,) = view.numbers(start + 8, ">Q")
            head = 16
        stop = end if length == 0 else min(end, start + length)
        if stop < start + head:
            return
        yield _Box(name, start + head, stop)
        start = stop


def _find(view: View, *path: bytes) -> _Box | None:
    """Return the first box with this path, None where there is none."""
    start, end = 0, view.size
    found: _Box | None = None
    for name in path:
        found = next((each for each in _boxes(view, start, end) if each.name == name), None)
        if found is None:
            return None
        start, end = found.start + (4 if name == b"meta" else 0), found.end
    return found


def avif(view: View) -> Header:
    """Read an AVIF: the primary item's size, turn and mirror; with room for the largest part of it."""
    container = _find(view, b"meta", b"iprp", b"ipco")
    properties = list(_boxes(view, container.start, container.end)) if container else []
    sizes = [view.numbers(each.start + 4, ">II") for each in properties if each.name == b"ispe"]
    tracks = list(_track_sizes(view))
    own, angle, axis = None, 0, None
    for each in _of_primary(view, properties):
        if each.name == b"ispe":
            own = view.numbers(each.start + 4, ">II")
        elif each.name == b"irot":
            angle = view.bytes(each.start, 1)[0] & 3
        elif each.name == b"imir":
            axis = view.bytes(each.start, 1)[0] & 1
    if own is None or (tracks and view.bytes(8, 4) == b"avis"):  # decoders show the track of such files
        own = tracks[0] if tracks else own
    if own is None:
        raise Cut
    room = max(width * height for width, height in (own, *sizes, *tracks, *_coded_sizes(view, properties)))
    return Header(own[0], own[1], _TURNS[axis][angle], room=room)


def _of_primary(view: View, properties: list[_Box]) -> list[_Box]:
    """Return the properties of the primary item, in the order of their association."""
    pitm, ipma = _find(view, b"meta", b"pitm"), _find(view, b"meta", b"iprp", b"ipma")
    if pitm is None or ipma is None:
        return []
    (primary,) = view.numbers(pitm.start + 4, ">I" if view.bytes(pitm.start, 1)[0] else ">H")
    version, *_, flags = view.bytes(ipma.start, 4)
    (entries,) = view.numbers(ipma.start + 4, ">I")
    position = ipma.start + 8
    for _ in range(min(entries, _MOST)):
        (item,) = view.numbers(position, ">I" if version else ">H")
        position += 4 if version else 2
        (count,) = view.bytes(position, 1)
        form = f">{count}{'H' if flags & 1 else 'B'}"
        mask = 0x7FFF if flags & 1 else 0x7F
        indices = [number & mask for number in view.numbers(position + 1, form)]
        if item == primary:
            return [properties[index - 1] for index in indices if 1 <= index <= len(properties)]
        position += 1 + count * (2 if flags & 1 else 1)
    return []


def _track_sizes(view: View) -> Iterator[tuple[int, int]]:
    moov = _find(view, b"moov")
    for track in _boxes(view, moov.start, moov.end) if moov else ():
        for box in _boxes(view, track.start, track.end) if track.name == b"trak" else ():
            if box.name == b"tkhd":  # ends in width and height with 16 bits behind the point
                width, height = view.numbers(box.end - 8, ">II")
                if width and height:
                    yield width >> 16, height >> 16


def _coded_sizes(view: View, properties: list[_Box]) -> Iterator[tuple[int, int]]:
    """Yield the sizes in the AV1 data itself: decoders make room for these, whatever the boxes say."""
    for each in properties:
        if each.name == b"av1C":
            yield from frame_size(view.up_to(each.start + 4, min(_START, each.end - each.start - 4)))
    for start in _extents(view):
        yield from frame_size(view.up_to(start, _START))


def _extents(view: View) -> Iterator[int]:
    """Yield where the data of the items start."""
    iloc, idat = _find(view, b"meta", b"iloc"), _find(view, b"meta", b"idat")
    if iloc is None:
        return
    (version,) = view.bytes(iloc.start, 1)
    sizes, more = view.bytes(iloc.start + 4, 2)
    offset, length, base, index = sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0
    position = iloc.start + 6
    wide = 4 if version == 2 else 2

    def number(count: int) -> int:
        nonlocal position
        position += count
        return int.from_bytes(view.bytes(position - count, count), "big")

    for _ in range(min(number(wide), _MOST)):
        number(wide)
        in_idat = bool(version) and number(2) & 15 == 1
        number(2)
        start = number(base) + (idat.start if in_idat and idat else 0)
        for extent in range(min(number(2), _MOST)):
            number(index)
            place = start + number(offset)
            number(length)
            if extent == 0:
                yield place


def jp2(view: View) -> Header:
    """Read a JPEG 2000, in boxes or bare: what the code stream itself says, for decoders go by that."""
    start, end = 0, view.size
    if view.bytes(0, 2) != b"\xff\x4f":
        box = _find(view, b"jp2c")
        if box is None:
            raise Cut
        start, end = box.start, box.end
    marker, _, _, right, bottom, left, top = view.numbers(start + 2, ">HHHIIII")
    (components,) = view.numbers(start + 40, ">H")
    _, across, down = view.numbers(start + 42, ">3B")  # of the first component: depth, and the steps of its samples
    if marker != 0xFF51 or not across or not down:
        raise Cut
    width = -(-right // across) - -(-left // across)
    height = -(-bottom // down) - -(-top // down)
    # Decoders keep four bytes for each sample, which is as much as a pixel of other formats takes.
    room = (right - left) * (bottom - top) * components
    return Header(width, height, room=room, whole=view.bytes(end - 2, 2) == b"\xff\xd9")
