"""What a video is made of, and what an engine that reads or writes one must do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.images import max_pixels

Image = NDArray[np.uint8]

DEFAULT_FPS = 25.0
_SENSIBLE = (0.01, 240.0)  # Matroska's ticks, 1000 a second, are told as a rate where there is none


class VideoFrame(NamedTuple):
    """One frame. image: uint8 [H, W, 3], BGR, upright. time: seconds since the first frame, by the stream's clock."""

    image: Image
    time: float


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself.

    size: (width, height) in pixels, upright. fps: nominal frames per second, 25 where there is none; a frame's own
    time may differ. frame_count, duration (seconds): as announced, None where it does not say; estimates in some
    containers. pixel_aspect: width of a pixel by its height (SAR).
    """

    size: tuple[int, int]
    fps: float = DEFAULT_FPS
    frame_count: int | None = None
    duration: float | None = None
    pixel_aspect: Fraction = Fraction(1)


class Decoder(Protocol):
    """An opened video or stream."""

    info: VideoInfo

    def frames(self) -> Iterator[tuple[Image, float | None]]:
        """Yield each frame, an array of its own, and its stamp in seconds, None where the stream has none.

        Raises InputError where a live source is lost.
        """

    def missing(self) -> str | None:
        """After the last frame: what is missing of a file, in a few words; None when it is whole."""

    def close(self) -> None:
        """Free the file or connection; a second call does nothing."""


class Encoder(Protocol):
    """A video file that is being written."""

    count: int  # frames in the file so far

    def write(self, image: Image, time: float) -> None:
        """Add a frame, uint8 [H, W, 3] BGR of the video's size, at `time` seconds, which never goes back."""

    def close(self) -> None:
        """Finish the file; a second call does nothing. Raises OSError when it cannot be finished."""


def usable_fps(fps: float | Fraction | None) -> float:
    """Return `fps` when it is a sensible frame rate, else 25."""
    rate = float(fps or 0)
    return rate if math.isfinite(rate) and _SENSIBLE[0] <= rate <= _SENSIBLE[1] else DEFAULT_FPS


def check_size(size: tuple[int, int]) -> None:
    """Raise InputError for a video whose frames have more pixels than pictures may have."""
    limit = max_pixels()
    if size[0] * size[1] > limit:
        raise InputError(f"{size[0]} x {size[1]} pixels is more than the limit of {limit} of EDGESSD_MAX_PIXELS")


def square_size(size: tuple[int, int], pixel_aspect: Fraction) -> tuple[int, int]:
    """Return (width, height) of a video of `size` whose pixels are made square."""
    return max(1, round(size[0] * pixel_aspect)), size[1]


def resized(image: Image, size: tuple[int, int] | None) -> Image:
    """Return the picture in `size` (width, height), None for its own."""
    if size is None or image.shape[1::-1] == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class StreamClock:
    """Makes stamps that never go back out of those of a stream.

    The first frame is at 0. A frame without a stamp comes one nominal interval after the one before it; so does one
    whose stamp jumps back by more than a second (streams are cut together), and those after it follow from there.
    """

    def __init__(self, fps: float) -> None:
        self._interval = 1 / fps
        self._last: float | None = None
        self._offset = 0.0

    def at(self, stamp: float | None) -> float:
        """Return the time of the next frame."""
        if self._last is None:
            self._offset = stamp or 0.0
            self._last = 0.0
            return 0.0
        if stamp is None:
            time = self._last + self._interval
        else:
            time = stamp - self._offset
            if time < self._last - 1.0:
                time = self._last + self._interval
                self._offset = stamp - time
        self._last = max(time, self._last)
        return self._last
