"""What the first bytes of a picture file say: its format, its size, and whether its end is there.

A decoder finds these out too late (after allocating the memory) or not at all (half a JPEG decodes
into half a grey picture), so they are read here, from the headers alone.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterator

JPEG, PNG, WEBP, GIF, BMP = "JPEG", "PNG", "WebP", "GIF", "BMP"
TIFF, AVIF, JP2, PNM = "TIFF", "AVIF", "JPEG 2000", "PNM"

_SUFFIXES = ".jpg .jpeg .jpe .jfif .png .webp .avif .gif .bmp .dib .tif .tiff .jp2 .ppm .pgm .pbm .pnm"
SUFFIXES = tuple(_SUFFIXES.split())
"""Suffixes, in lower case, of pictures in folders; a name without one stands for the file whose suffix comes first."""

_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
    (b"\xff\x4f\xff\x51", JP2),
)

# Things that people pass for pictures, and what to tell them.
_OTHER = (
    (b"%PDF", "a PDF document: save its pages as PNG"),
    (b"<svg", "an SVG drawing: save it as PNG"),
    (b"<?xml", "XML text (perhaps an SVG drawing: save it as PNG)"),
    (b"<!doctype", "a web page, not a picture: take the address of the picture itself"),
    (b"<html", "a web page, not a picture: take the address of the picture itself"),
    (b"{", "JSON text, not a picture"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with 'git lfs pull'"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"\x1f\x8b", "gzip data: unpack it first"),
)


def sniff(head: bytes) -> str | None:
    """Return the format of the picture that starts with `head` (at least 16 bytes), or None."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return AVIF
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return PNM
    return None


def describe_other(head: bytes) -> str:
    """Say what data that is no picture seems to be, and what to do with it."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:32].lower()
    for magic, text in _OTHER:
        if start.startswith(magic.lower()):
            return text
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            return "a HEIC picture, which OpenCV cannot read: convert it to JPEG"
        return "a video, not a picture: name the file with a video's suffix, such as .mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "a video, not a picture: name the file with a video's suffix, such as .avi"
    if _is_text(head[:512]):
        return "text, not a picture"
    return "not a picture that edgessd knows (JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000, PNM)"


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # which allows a cut last character
    except UnicodeDecodeError:
        return False
    return True


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header of a JPEG, PNG, WebP, GIF or BMP; None where it is not in `data`."""
    reader = {JPEG: _jpeg_size, PNG: _png_size, WEBP: _webp_size, GIF: _gif_size, BMP: _bmp_size}.get(sniff(data) or "")
    if reader is None:
        return None
    try:
        return reader(data)
    except (struct.error, IndexError):
        return None


def truncated(data: bytes) -> bool:
    """Whether the end of a JPEG, PNG or WebP is missing; False for other formats, whose decoders notice it."""
    kind = sniff(data)
    if kind == JPEG:
        scan = next((start for marker, start, _ in _jpeg_segments(data) if marker == 0xDA), None)
        return scan is None or data.rfind(b"\xff\xd9", scan) < 0
    if kind == PNG:
        return not any(name == b"IEND" for name, _, _ in _png_chunks(data))
    if kind == WEBP:
        return len(data) < 12 or len(data) < 8 + int(struct.unpack_from("<I", data, 4)[0])
    return False


def webp_orientation(data: bytes) -> int:
    """Return the EXIF orientation (1..8) of a WebP, 1 when it has none. OpenCV reads it only since version 4.12."""
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF":
            return exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + (length & 1)
    return 1


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1..8) in an EXIF block (a small TIFF file), 1 when it is missing or damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for index in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * index)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, length) of the segments of a JPEG up to its first scan; start is behind the length."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, position + 4, length - 2
        if marker == 0xDA or length < 2:
            return
        position += 2 + length


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, start, _ in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, start + 1)
            return width, height
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, length) of the complete chunks of a PNG."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            return
        yield name, position + 8, length
        position += 12 + length


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means that rows run from the top


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
