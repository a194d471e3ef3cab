"""Formats of pictures: suffixes, and what the first bytes of a file say that it is."""

from __future__ import annotations

import codecs

JPEG, PNG, WEBP, GIF, BMP = "JPEG", "PNG", "WebP", "GIF", "BMP"
TIFF, AVIF, JP2, PNM = "TIFF", "AVIF", "JPEG 2000", "PNM"

_SUFFIXES = ".jpg .jpeg .jpe .jfif .png .webp .avif .gif .bmp .dib .tif .tiff .jp2 .ppm .pgm .pbm .pnm"
SUFFIXES = tuple(_SUFFIXES.split())
"""Suffixes, in lower case, of pictures in folders; a name without one stands for the file whose suffix comes first."""

HEAD = 512
"""Bytes of a file that `sniff` and `describe_other` look at."""

_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),  # BigTIFF
    (b"MM\0+", TIFF),
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
    """Return the format of the picture that starts with `head` (`HEAD` bytes, where it has so many), or None."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp" and _brands(head) & {b"avif", b"avis"}:
        return AVIF
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return PNM
    return None


def _brands(head: bytes) -> set[bytes]:
    """Return the brands of an ISO media file: what it is, and what else it may be read as."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return {head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))}


def describe_other(head: bytes) -> str:
    """Say what data that is no picture seems to be, and what to do with it."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:32].lower()
    for magic, text in _OTHER:
        if start.startswith(magic.lower()):
            return text
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            return "a HEIC picture, which OpenCV cannot read: convert it to JPEG"
        return "a video, not a picture: give its file to `edgessd detect` or to Detector.stream"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "a video, not a picture: give its file to `edgessd detect` or to Detector.stream"
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
