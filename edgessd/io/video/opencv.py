"""Videos through OpenCV, which is always there.

It knows less of a stream than PyAV: no edit lists, no mirroring, and it writes one frame after the other at a fixed
rate. What can be had from the head of an MP4 is read there (`mp4.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.address import Address, url_scheme
from edgessd.io.video.mp4 import read_mp4
from edgessd.io.video.orient import turned, turned_aspect, turned_size
from edgessd.io.video.types import Image, VideoInfo, check_size, resized, square_size, usable_fps

# One codec for each container, all of which OpenCV's wheels can write and read without a word on stderr.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
_FASTEST = 60.0  # frames a second of a written video: MPEG-4 knows no odd rate above 65
_LONGEST_REPEAT = 250  # frames


def open_capture(source: str | int, *, timeout: float = 10.0) -> cv2.VideoCapture:
    """Open a camera (by number), a video file or the address of a stream; ask `isOpened` whether it worked.

    timeout: seconds for opening an address and for each of its frames, where FFmpeg reads it. Raises InputError for
    an address that is none.
    """
    if isinstance(source, int):
        return cv2.VideoCapture(source)
    if url_scheme(source) is None:
        # An absolute path, so that a name with a colon is not taken for an FFmpeg protocol.
        return cv2.VideoCapture(str(Path(source).absolute()))
    source = Address.parse(source).with_login
    milliseconds = max(1, int(timeout * 1000))
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    try:
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    except cv2.error:
        return cv2.VideoCapture(source)


class OpenCvDecoder:
    """Whatever a `cv2.VideoCapture` has opened: a file, a stream, a camera, a pipeline.

    path: of a file, whose head then says how it is turned and whether its end is there.
    Raises InputError when the capture is not open.
    """

    def __init__(self, capture: cv2.VideoCapture, path: str | None = None) -> None:
        self._capture, self._reached, self._start = capture, 0.0, 0.0
        if not capture.isOpened():
            capture.release()
            raise InputError("it cannot be opened")
        self._mp4 = None if path is None else read_mp4(path)
        if self._mp4 is not None:
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        width, height, rate, count, wide, high = (
            capture.get(prop)
            for prop in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_SAR_NUM,
                cv2.CAP_PROP_SAR_DEN,
            )
        )
        aspect = Fraction(round(wide), round(high)) if wide >= 1 and high >= 1 else Fraction(1)
        size = (round(width), round(height))
        if self._mp4 is not None:
            size, aspect = turned_size(size, self._mp4.matrix), turned_aspect(aspect, self._mp4.matrix)
        check_size(size)
        known = 0 < count < 1e9 and rate > 0
        sensible = usable_fps(rate) == rate
        self.info = VideoInfo(
            size,
            usable_fps(rate),
            frame_count=round(count) if known and sensible else None,
            duration=count / rate if known else None,
            pixel_aspect=aspect,
        )

    def frames(self) -> Iterator[tuple[Image, float | None]]:
        """Yield each frame and its stamp."""
        index = 0
        while True:
            ok, frame = self._capture.read()
            if not ok or frame is None:
                return
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if stamp < 0:  # OpenCV 4 where FFmpeg does not know the beginning
                stamp = 0.0
            if not index:  # stamps are counted from it, and the duration of a Matroska is not
                self._start = max(0.0, self._capture.get(cv2.CAP_PROP_PTS) / self.info.fps)
            self._reached = max(self._reached, stamp)
            if frame.ndim == 2 or frame.shape[2] == 1:
                frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
            image = frame.astype(np.uint8, copy=False)
            if self._mp4 is not None:
                image = turned(image, self._mp4.matrix)
            yield image, None if index and not stamp else stamp  # 0 again: the stream has no stamps
            index += 1

    def missing(self) -> str | None:
        """After the last frame: what is missing, None when the file is whole or does not say."""
        if self._mp4 is not None:  # a count of frames there may include those that an edit list leaves out
            return None if self._mp4.whole else "its end is missing"
        duration, fps = self.info.duration, self.info.fps
        if duration is None or not self._reached:
            return None
        reached = self._start + self._reached
        if reached + 1 / fps >= duration - max(2 / fps, min(duration / 100, 2.0)):
            return None
        return f"it ended after {reached:.1f} of {duration:.1f} s"

    def close(self) -> None:
        """Give the file, the connection or the camera back."""
        self._capture.release()


class OpenCvEncoder:
    """Writes a video of a fixed rate, in which frames are repeated or left out to keep their time.

    Pixels that are not square are made so. Raises OSError when OpenCV does not write this.
    """

    def __init__(self, path: Path, *, fps: float, size: tuple[int, int], pixel_aspect: Fraction = Fraction(1)) -> None:
        self.count = 0
        self._size = square_size(size, pixel_aspect) if min(size) > 0 else size
        self._last: Image | None = None
        codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
        rate = min(fps, _FASTEST)
        for attempt in (
            rate,
            max(1.0, round(rate)),
        ):  # MPEG-4 knows no rate with many decimals; a whole one always works
            self._fps = attempt
            self._writer = cv2.VideoWriter(str(path), codec, attempt, self._size)
            if self._writer.isOpened():
                return
        raise OSError(f"OpenCV {cv2.__version__} does not write it")

    def write(self, image: Image, time: float) -> None:
        """Add a frame, as often as it takes to keep the time."""
        due = round(time * self._fps)
        for _ in range(min(due - self.count, _LONGEST_REPEAT)):
            self._write(self._last if self._last is not None else image)
        if self.count <= due:
            self._write(image)
        self._last = image

    def _write(self, image: Image) -> None:
        self._writer.write(np.ascontiguousarray(resized(image, self._size)))
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()
