"""What yields frames, and what most such sources have in common."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

from edgessd.io.video import VideoFrame

Size = tuple[int, int]


class FrameSource(Protocol):
    """Something that yields frames.

    name: for messages. live: whether frames that nobody takes are lost (a camera) or wait (a file).
    fps: nominal frames per second. frame_count: as announced, None where unknown. pixel_aspect: width of a pixel by
    its height. trouble: what is wrong just now, in a few words.
    """

    name: str
    live: bool
    fps: float
    frame_count: int | None
    pixel_aspect: Fraction
    trouble: str | None

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield frames with their time: since the beginning of a file, on `time.perf_counter()` of a live source.

        Raises InputError when they end before their time.
        """

    def interrupt(self) -> None:
        """End a wait of the iterating thread early, where that is possible; called by another thread."""

    def close(self) -> None:
        """Free the device or file; a second call does nothing."""


class PlainSource:
    """What most sources have in common."""

    live = False
    fps = 25.0
    frame_count: int | None = None
    pixel_aspect = Fraction(1)
    trouble: str | None = None

    def interrupt(self) -> None:
        """Nothing waits for long."""

    def close(self) -> None:
        """Nothing to free."""
