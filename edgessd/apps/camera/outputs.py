"""Where annotated frames go: a video file, a window."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edgessd._cv2 import cv2
from edgessd.apps.camera.capture import Frame
from edgessd.io.images import Image
from edgessd.io.video import VideoWriter

_TITLE = "edgessd camera"
_MAX_GAP = 250


class Output(Protocol):
    """Takes every annotated frame."""

    def add(self, frame: Frame, picture: Image) -> bool:
        """Take one frame and its annotated picture; False asks for the end."""

    def close(self) -> None:
        """Finish what was begun."""


class VideoOutput:
    """Writes a video file of `fps` frames per second.

    live: keep the pace of the clock, by repeating a frame until the next one was captured; otherwise
    every frame is written once.
    """

    def __init__(self, path: Path, *, fps: float, live: bool) -> None:
        self._path, self._fps, self._live = path, fps, live
        self._writer: VideoWriter | None = None
        self._begin = 0.0
        self._last: Image | None = None

    def add(self, frame: Frame, picture: Image) -> bool:
        """Write one frame."""
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = VideoWriter(self._path, fps=self._fps, size=size)
            self._begin = frame.time
        if self._live and self._last is not None:
            due = round((frame.time - self._begin) * self._fps)
            for _ in range(min(due - self._writer.count, _MAX_GAP)):
                self._writer.write(self._last)
            if self._writer.count > due:
                return True  # the camera is faster than the video
        self._writer.write(picture)
        self._last = picture if self._live else None
        return True

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


class WindowOutput:
    """Shows frames in a window; q, Esc and the window's own button end the program."""

    def __init__(self) -> None:
        self._open = False

    def add(self, frame: Frame, picture: Image) -> bool:
        """Show one frame."""
        if not self._open:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(_TITLE, picture.shape[1], picture.shape[0])
            self._open = True
        cv2.imshow(_TITLE, picture)
        if cv2.waitKey(1) & 0xFF in (ord("q"), ord("Q"), 27):
            return False
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        if self._open:
            cv2.destroyWindow(_TITLE)


@contextlib.contextmanager
def closing_all(outputs: list[Output]) -> Iterator[None]:
    """Close every output at the end, even when closing one of them fails."""
    with contextlib.ExitStack() as stack:
        for output in outputs:
            stack.callback(output.close)
        yield
