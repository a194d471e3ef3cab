"""The few facts in the head of an MP4 or MOV that OpenCV does not tell (ISO 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgessd.io.video.orient import UPRIGHT, Matrix, display_matrix


@dataclass(frozen=True)
class Mp4:
    """matrix: how the video is to be turned. whole: whether the file is as long as its parts say.

    fragmented: whether it consists of fragments, as a recording does that was not finished.
    """

    matrix: Matrix
    whole: bool
    fragmented: bool


def read_mp4(path: str | Path) -> Mp4 | None:
    """Return the facts of an MP4 or MOV, None for any other file and one that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            if file.read(12)[4:8] != b"ftyp":
                return None
            length = file.seek(0, 2)
            boxes = list(_boxes(file, 0, length))
            whole = all(end <= length for _, _, end in boxes)
            return Mp4(_matrix(file, boxes), whole, any(name == b"moof" for name, _, _ in boxes))
    except (OSError, ValueError, struct.error):
        return None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start of its content, end) of each box from `start` on; the last may go beyond `end`."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            head, (size,) = 16, struct.unpack(">Q", file.read(8))
        elif size == 0:
            size = end - start
        if size < head:
            return
        yield name, start + head, start + size
        start += size


def _matrix(file: BinaryIO, boxes: list[tuple[bytes, int, int]]) -> Matrix:
    """Of the first track with a size, which is the first one with pictures."""
    for name, start, end in boxes:
        if name != b"moov":
            continue
        for track, inner, until in _boxes(file, start, end):
            for each, content, _ in _boxes(file, inner, until) if track == b"trak" else ():
                if each != b"tkhd":
                    continue
                file.seek(content)
                version = file.read(1)[0]
                file.seek(content + (52 if version == 1 else 40))
                numbers = file.read(44)  # the matrix, width and height
                if len(numbers) == 44 and any(numbers[36:]):
                    return display_matrix(numbers, ">")
    return UPRIGHT
