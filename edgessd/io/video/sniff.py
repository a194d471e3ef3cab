"""Which files are videos, by their content and, where that leaves it open, by their names."""

from __future__ import annotations

import mmap
import os
import re
import urllib.parse
from pathlib import Path

from edgessd.io.address import url_scheme
from edgessd.io.formats import JPEG, sniff
from edgessd.io.local import local_path

_CONTAINERS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".3gp", ".ogv")
_STREAMED = (".ts", ".mts", ".m2ts", ".vob", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg")
SUFFIXES = frozenset((*_CONTAINERS, *_STREAMED, ".y4m", ".ivf"))
"""Suffixes of videos, in lower case."""

_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "tcp", "srt", "mms")
_PHOTO_NAMES = (".jpg", ".jpeg", ".jpe", ".jfif")
_HEAD = 4096
_PACKETS = 5  # that a transport stream is known by

_MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\0\0\x01\xba",  # MPEG programme stream
    b"\0\0\x01\xb3",  # MPEG-1 and MPEG-2 video
    b"\0\0\x01\xb0",  # MPEG-4 video
    b"YUV4MPEG2",
    b"DKIF",
    b"\x06\x0e\x2b\x34",  # MXF
)
_PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heim", b"heis")
# Annex B: a start code, then the parameter sets or the delimiter that H.264 and H.265 begin with.
_ANNEX_B = re.compile(rb"\0{2,3}\x01(?:[\x07\x27\x47\x67]|\x09[\x10-\xf0]|[\x40\x42\x46]\x01)")
_NEXT_JPEG = re.compile(rb"\xff\xd9[\0\r\n\xff]{0,64}?\xff\xd8\xff")


def is_stream(source: str | os.PathLike[str]) -> bool:
    """Whether an address is of a kind that is always live: rtsp, rtmp, udp, tcp, srt or mms."""
    return url_scheme(os.fspath(source)) in _STREAMS


def is_video(source: str | os.PathLike[str]) -> bool:
    """Whether a path or address names a video: a file by its content, an address by its scheme or suffix."""
    text = local_path(os.fspath(source))
    scheme = url_scheme(text)
    if scheme in ("http", "https"):
        return Path(urllib.parse.urlsplit(text).path).suffix.lower() in SUFFIXES
    if scheme is not None:
        return is_stream(text)
    path = Path(text)
    named = path.suffix.lower() in SUFFIXES
    try:
        if not path.is_file():
            return named
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return named
    if is_video_data(head):
        return True
    kind = sniff(head)
    if kind == JPEG and path.suffix.lower() not in _PHOTO_NAMES:
        return _several(path)
    if kind == "GIF":
        return _moves(path)
    return named and kind is None


def is_video_data(head: bytes) -> bool:
    """Whether a file that begins so (a thousand bytes or more) is a video in a container, or a bare stream."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):  # QuickTime before `ftyp`, and cameras' habits
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head.startswith(_MAGIC) or _ANNEX_B.match(head) is not None:
        return True
    # MPEG transport streams: packets of 188 bytes, on camcorders' disks with four bytes of time before each; a
    # recording may begin within one.
    places = ((first, step) for step in (188, 192, 204) for first in range(step))
    return any(head[first : first + _PACKETS * step : step] == b"G" * _PACKETS for first, step in places)


def _several(path: Path) -> bool:
    """Whether JPEGs follow each other in the file; a photo's other views (MPF: gain maps, stereo) do not count."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        second = _NEXT_JPEG.search(data)
        return second is not None and data.find(b"MPF\0", 0, second.start()) < 0


def _moves(path: Path) -> bool:
    """Whether a GIF has a second picture."""
    try:
        data = path.read_bytes()
        place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
        pictures = 0
        while data[place] in (0x21, 0x2C):
            if data[place] == 0x2C:
                pictures += 1
                flags = data[place + 9]
                place += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
            else:
                place += 2
            while data[place]:
                place += data[place] + 1
            place += 1
        return pictures > 1
    except (OSError, IndexError):
        return False
