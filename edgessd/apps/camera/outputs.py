"""Where annotated frames go: a video file, a window."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from edgessd._cv2 import cv2
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.worker import Worker
from edgessd.errors import InputError
from edgessd.io.files import printable
from edgessd.io.images import Image
from edgessd.io.video import VideoWriter

_TITLE = "edgessd camera"
_QUEUE = 4  # annotated pictures that wait for the encoder
_RESERVE = 16 << 20  # bytes that must be free on the disk for a video to go on and be finished


class Output(Protocol):
    """Takes every annotated frame. What it raises ends this output only; the others go on."""

    @property
    def pictures(self) -> bool:
        """Whether it looks at the annotated picture; where nobody does, nothing is drawn."""

    def add(self, result: Result, picture: Image) -> None:
        """Take one result and its annotated picture, which nobody changes any more."""

    def idle(self, picture: Image | None) -> None:
        """Nothing came for a moment; a picture is given where something is to be said."""

    def close(self) -> None:
        """Finish what was begun."""


class VideoOutput:
    """Writes a video file with the times of its frames, in a thread.

    fps: nominal frames per second. pixel_aspect: width of a pixel by its height. live: lose frames rather than wait
    for a slow disk. When the disk is nearly full, the video is finished with what it has, and InputError raised.
    """

    pictures = True

    def __init__(self, path: Path, *, fps: float, live: bool, pixel_aspect: Fraction = Fraction(1)) -> None:
        self._path, self._fps, self._pixel_aspect = path, fps, pixel_aspect
        self._writer: VideoWriter | None = None
        self._worker: Worker[tuple[float, Image]] = Worker("video", self._write, size=_QUEUE, lossy=live)

    def add(self, result: Result, picture: Image) -> None:
        """Write one frame."""
        self._worker.put((result.frame.time, picture))

    def idle(self, picture: Image | None) -> None:
        """A video has no moments without a frame."""

    def _write(self, item: tuple[float, Image]) -> None:
        time, picture = item
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = VideoWriter(self._path, fps=self._fps, size=size, pixel_aspect=self._pixel_aspect)
        if self._writer.count % 10 == 0 and shutil.disk_usage(self._path.parent).free < _RESERVE:
            self._writer.close()
            raise InputError(
                f"{printable(self._path)}: the disk is nearly full: the video ends after {self._writer.count} frames"
            )
        self._writer.write(picture, time)

    def close(self) -> None:
        """Write what waits and finish the file."""
        try:
            self._worker.close()
        finally:
            if self._writer is not None:
                self._writer.close()


class WindowOutput:
    """Shows frames in a window; keys go to `control`; the window's own button ends the program."""

    pictures = True

    def __init__(self, control: Control) -> None:
        self._control = control
        self._open = False

    def add(self, result: Result, picture: Image) -> None:
        """Show one frame."""
        self.idle(picture)

    def idle(self, picture: Image | None) -> None:
        """Show a picture, where one is given, and look at the keys."""
        if picture is not None:
            if not self._open:
                os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")  # about fonts that nobody needs
                cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
                cv2.resizeWindow(_TITLE, picture.shape[1], picture.shape[0])
                self._open = True
            cv2.imshow(_TITLE, picture)
        if not self._open:
            return
        self._control.key(cv2.waitKey(1))
        if cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self._control.stop.set()

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
