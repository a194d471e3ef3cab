"""Opening what the user names: a camera, a video file, a stream, or the demo clip."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from edgessd._cv2 import cv2
from edgessd.apps.camera import demo
from edgessd.errors import InputError
from edgessd.io.files import printable
from edgessd.io.formats import SUFFIXES
from edgessd.io.images import Image
from edgessd.io.remote import shown_url, url_scheme
from edgessd.io.sources import is_video
from edgessd.io.video import VideoFile, open_capture, usable_fps


class FrameSource(Protocol):
    """Something that yields frames.

    name: for messages. live: whether frames that nobody takes are lost (a camera) or wait (a file).
    fps: nominal frames per second. frame_count: as announced, None where unknown.
    """

    name: str
    live: bool
    fps: float
    frame_count: int | None

    def __iter__(self) -> Iterator[Image]:
        """Yield frames, uint8 [H, W, 3] BGR. Raises InputError when they end before their time."""

    def close(self) -> None:
        """Free the device or file; a second call does nothing."""


def open_source(source: str, *, timeout: float = 10.0) -> FrameSource:
    """Open `demo`, the number of a camera, the path of a video or the address of a stream or video.

    timeout: seconds for an address to answer. Raises InputError that says what to try.
    """
    if source == "demo":
        return DemoSource()
    number = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", source)
    if number is not None and not Path(source).is_file():
        return LiveSource(int(number.group(1)), name=f"camera {number.group(1)}")
    if url_scheme(source) is not None and not (url_scheme(source) in ("http", "https") and is_video(source)):
        return LiveSource(source, name=shown_url(source), timeout=timeout)
    if Path(source).suffix.lower() in SUFFIXES:
        raise InputError(f"{printable(source)}: a picture: use 'edgessd detect' for pictures, or give a video")
    return FileSource(VideoFile(source, timeout=timeout))


class FileSource:
    """Every frame of a video file."""

    live = False

    def __init__(self, video: VideoFile) -> None:
        self._video = video
        self.name = printable(video.source)
        self.fps = video.fps
        self.frame_count = video.frame_count

    def __iter__(self) -> Iterator[Image]:
        return iter(self._video)

    def close(self) -> None:
        """Close the file."""
        self._video.close()


class DemoSource:
    """The demo clip."""

    live = False
    name = "demo"
    fps = demo.FPS
    frame_count: int | None = demo.FRAMES

    def __iter__(self) -> Iterator[Image]:
        return demo.demo_clip()

    def close(self) -> None:
        """Nothing to free."""


class LiveSource:
    """A camera or a stream: endless, and its end is an error."""

    live = True
    frame_count: int | None = None

    def __init__(self, source: int | str, *, name: str, timeout: float = 10.0) -> None:
        self.name = name
        self._capture = open_capture(source, timeout=timeout)
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(_no_camera(name) if isinstance(source, int) else _no_stream(name))
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver can: old frames are of no use
        self.fps = usable_fps(self._capture.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Image]:
        count = 0
        while True:
            ok, frame = self._capture.read()
            if not ok or frame is None:
                break
            count += 1
            if frame.ndim == 2 or frame.shape[2] == 1:
                frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
            yield frame.astype(np.uint8, copy=False)
        if count == 0:
            raise InputError(f"{self.name}: opened, but sends no frames: is another program using it?")
        raise InputError(f"{self.name}: no more frames after {count}: check the cable or the network and start again")

    def close(self) -> None:
        """Give the camera or the connection back."""
        self._capture.release()


def _no_camera(name: str) -> str:
    text = f"{name} cannot be opened: it is not plugged in, or another program uses it"
    if sys.platform.startswith("linux"):
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        text += f" (found {', '.join(found)})" if found else " (there is no /dev/video* here)"
    return f"{text}: try another number, a video file, or --source demo"


def _no_stream(name: str) -> str:
    return f"{name}: this stream cannot be opened: check address, login and network, or try it in a player such as VLC"
