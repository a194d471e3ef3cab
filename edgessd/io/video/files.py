"""Reading and writing video files."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.address import Address, source_name, url_scheme
from edgessd.io.files import check_writable, printable, put_in_place, temporary_beside

DEFAULT_FPS = 25.0

# One codec for each container, all of which OpenCV's wheels can write and read without a word on stderr.
_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class VideoFile:
    """A video file (or the address of one): context manager and iterator over its frames.

        >>> with VideoFile("street.mp4") as video:
        ...     for index, frame in enumerate(video):  # frame: uint8 [H, W, 3], BGR
        ...         ...

    source: the path, or the address as it may be shown. size: (width, height) in pixels. fps: frames per second,
    25 where the file does not say. frame_count: as announced by the file, None where it does not say; it is an
    estimate in some containers. index: number of frames read so far.

    Opening raises InputError for a file that is missing, empty or no video. Iterating yields all
    frames that can be read, and then raises InputError when that is clearly fewer than announced.
    """

    def __init__(self, source: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        """Open a video. timeout: seconds to wait for an address to open, and for each of its frames."""
        text = os.fspath(source)
        remote = url_scheme(text) is not None
        self.source = source_name(text)
        self._name = printable(self.source)
        if not remote:
            _check_file(text, self._name)
        self._capture = open_capture(text, timeout=timeout)
        if not self._capture.isOpened():
            raise InputError(
                f"{self._name}: cannot be opened as a video: "
                + (
                    "check the address and the network"
                    if remote
                    else "it is damaged, its end is missing, or it is no video; copy it again or convert it to MP4"
                )
            )
        self.size = (
            round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        self.fps = usable_fps(self._capture.get(cv2.CAP_PROP_FPS))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = round(count) if 0 < count < 1e9 else None
        self.index = 0
        self._milliseconds = 0.0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield each frame as uint8 [H, W, 3], BGR; an array of its own each time."""
        while True:
            ok, frame = self._capture.read()
            if not ok or frame is None:
                break
            self.index += 1
            self._milliseconds = max(self._milliseconds, self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if frame.ndim == 2 or frame.shape[2] == 1:
                frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
            yield frame.astype(np.uint8, copy=False)
        self._check_end()

    def _check_end(self) -> None:
        if self.index == 0:
            raise InputError(f"{self._name}: no frame of this video can be read: copy it again or convert it to MP4")
        if self.frame_count is None:
            return
        slack = max(2, math.ceil(self.frame_count / 100))
        # Some containers give only their length in time, from which the count is guessed; a video of
        # varying frame rate is then complete when its last frame stands at the end of that time.
        reached = (self._milliseconds / 1000 + 1 / self.fps) * self.fps
        if self.index < self.frame_count - slack and reached < self.frame_count - slack:
            raise InputError(
                f"{self._name}: the video ended after {self.index} of {self.frame_count} frames: "
                "it is damaged or its end is missing, copy it again"
            )

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoWriter:
    """Writes frames to a video file; the codec is chosen by the suffix (.mp4, .mov, .mkv, .avi).

    The frames go to a temporary file beside the target that takes its place in `close`, so the target
    is always a whole, playable video. As a context manager it closes after exceptions too: what was
    written until then is kept. Without any frame no file is made.

    path: the target. size: (width, height); frames of another size are resized to it. count: frames so far.
    Raises InputError when the suffix is unknown or the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: float, size: tuple[int, int]) -> None:
        self.path = Path(path)
        self.size = size
        self.count = 0
        codec = check_video_target(self.path)
        self._temporary = temporary_beside(self.path)
        rate = usable_fps(fps)
        # MPEG-4 knows no rate with many decimals above 65 per second; a whole number always works.
        for attempt in (rate, max(1.0, round(rate))):
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter.fourcc(*codec), attempt, size)
            if self._writer.isOpened():
                return
        self._temporary.unlink(missing_ok=True)
        raise InputError(
            f"{printable(path)}: this OpenCV ({cv2.__version__}) cannot write {size[0]} x {size[1]} video as "
            f"{self.path.suffix}: try .avi"
        )

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Add one frame, uint8 [H, W, 3], BGR."""
        if frame.shape[1::-1] != self.size:
            # The encoder would drop it in silence.
            frame = cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        self._writer.write(np.ascontiguousarray(frame))
        self.count += 1

    def close(self) -> None:
        """Finish the video and put it at its place. Raises InputError when what was written is no playable video."""
        if not self._writer.isOpened():
            return
        self._writer.release()
        try:
            if self.count == 0:
                return
            if not _playable(self._temporary):
                raise InputError(f"cannot write {printable(self.path)}: the video could not be finished (disk full?)")
            put_in_place(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_video_target(path: Path) -> str:
    """Return the codec for a video file to be written; raise InputError for an unknown suffix or a missing folder."""
    codec = _CODECS.get(path.suffix.lower())
    if codec is None:
        raise InputError(
            f"{printable(path)}: videos are written as {', '.join(_CODECS)}: give the file one of these suffixes"
        )
    check_writable(path)
    return codec


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


def usable_fps(fps: float) -> float:
    """Return `fps` when it is a sensible frame rate, else 25."""
    return float(fps) if math.isfinite(fps) and 0.01 <= fps <= 1000 else DEFAULT_FPS


def _check_file(path: str, name: str) -> None:
    try:
        file = Path(path)
        if file.is_dir():
            raise InputError(f"{name}: a folder, not a video: name a file in it")
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe may never end
            raise InputError(f"{name}: not a regular file: give a file, or the number of a camera to the camera app")
        if status.st_size == 0:
            raise InputError(f"{name}: empty: copy or download it again")
        if not os.access(path, os.R_OK):
            raise InputError(f"{name}: no permission to read this file: change its mode or owner")
    except FileNotFoundError:
        raise InputError(f"{name}: no such file: check the path (now in {printable(Path.cwd())})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read: {printable(getattr(error, 'strerror', None) or error)}") from error


def _playable(path: Path) -> bool:
    capture = open_capture(str(path))
    try:
        return bool(capture.isOpened() and capture.grab())
    finally:
        capture.release()
