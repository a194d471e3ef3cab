"""JPEG, PNG and WebP: formats that are a row of named pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from edgessd.io.headers.tiff import exif_orientation
from edgessd.io.headers.view import Cut, Header, View

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP, _PNG_EXIF = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"  # the second is ImageMagick's old way
_MOST = 1 << 20  # bytes of a compressed text that are unpacked


def jpeg(view: View) -> Header:
    """Read a JPEG up to its first scan."""
    size = exif = xmp = None
    end = None
    for marker, start, length in _segments(view):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = size or view.numbers(start + 1, ">HH")
        elif marker == 0xE1 and exif is None and view.up_to(start, len(_EXIF)) == _EXIF:
            exif = view.bytes(start, length)
        elif marker == 0xE1 and xmp is None and view.up_to(start, len(_XMP)) == _XMP:
            xmp = view.bytes(start, length)
        elif marker == 0xDA:
            end = start
    if size is None:
        raise Cut
    height, width = size
    return Header(width, height, exif_orientation(exif or b"", xmp or b""), whole=end is not None and _ends(view, end))


def _segments(view: View) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, length) of the segments up to the first scan; start is behind the length."""
    position = 2
    while position + 4 <= view.size:
        filler, marker, length = view.numbers(position, ">BBH")
        if filler != 0xFF:  # garbage between segments, which decoders skip as well
            ahead = view.up_to(position, 4096).find(b"\xff")
            position += ahead if ahead >= 0 else 4096
        elif marker in (0x00, 0xFF):  # no marker
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            position += 2
        else:
            yield marker, position + 4, length - 2
            if marker == 0xDA or length < 2:
                return
            position += 2 + length


def _ends(view: View, scan: int) -> bool:
    """Whether the end marker comes somewhere behind the start of the scan; other data may follow it."""
    step = 1 << 16
    end = view.size
    while end > scan:
        start = max(scan, end - step)
        if view.up_to(start, end - start + 1).rfind(b"\xff\xd9") >= 0:  # from behind, where it stands
            return True
        end = start
    return False


def png(view: View) -> Header:
    """Read the chunks of a PNG."""
    width, height = view.numbers(16, ">II")
    exif = raw = xmp = b""
    whole = False
    position = 8
    while position + 12 <= view.size and not whole:
        length, name = view.numbers(position, ">I4s")
        if position + 12 + length > view.size:
            break
        start = position + 8
        if name == b"eXIf":
            exif = view.bytes(start, length)
        elif name in (b"iTXt", b"zTXt", b"tEXt"):
            text = view.bytes(start, length)
            xmp = text if text.startswith(_PNG_XMP) else xmp
            raw = _raw_exif(text, name == b"zTXt") if text.startswith(_PNG_EXIF) else raw
        whole = name == b"IEND"
        position += 12 + length
    return Header(width, height, exif_orientation(exif or raw, _unpack(xmp)), whole=whole)


def _raw_exif(text: bytes, packed: bool) -> bytes:
    """Return the EXIF block of ImageMagick's hexadecimal text: three lines of heading, then the digits."""
    body = text[len(_PNG_EXIF) :]
    if packed:
        body = _inflate(body[1:])
    digits = b"".join(body.split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _unpack(xmp: bytes) -> bytes:
    """Return the packet of an iTXt chunk, which may be compressed."""
    flag = xmp[len(_PNG_XMP) : len(_PNG_XMP) + 1]
    if flag != b"\1":
        return xmp
    return _inflate(xmp[len(_PNG_XMP) + 2 :].split(b"\0", 2)[-1])


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST)
    except zlib.error:
        return b""


def webp(view: View) -> Header:
    """Read the chunks of a WebP."""
    (announced,) = view.numbers(4, "<I")
    exif = xmp = b""
    position = 12
    while position + 8 <= view.size:
        name, length = view.numbers(position, "<4sI")
        if name == b"EXIF":
            exif = exif or view.up_to(position + 8, length)
        elif name == b"XMP ":
            xmp = xmp or view.up_to(position + 8, length)
        position += 8 + length + (length & 1)
    width, height = _webp_size(view)
    return Header(width, height, exif_orientation(exif, xmp), whole=view.size >= 8 + announced)


def _webp_size(view: View) -> tuple[int, int]:
    kind = view.bytes(12, 4)
    if kind == b"VP8X":
        sides = view.bytes(24, 6)
        return 1 + int.from_bytes(sides[:3], "little"), 1 + int.from_bytes(sides[3:], "little")
    if kind == b"VP8L":
        (bits,) = view.numbers(21, "<I")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = view.numbers(26, "<HH")
        return width & 0x3FFF, height & 0x3FFF
    raise Cut
