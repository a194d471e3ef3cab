"""Opening what the user names: a camera, a video, pictures, a stream, or the demo clip."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edgessd.apps.camera import demo
from edgessd.apps.camera.frame_source import FrameSource, PlainSource, Size
from edgessd.apps.camera.live import open_camera, open_pipeline, open_stream
from edgessd.errors import EdgeSSDError, InputError
from edgessd.io.address import shown_source, url_scheme
from edgessd.io.files import printable
from edgessd.io.formats import SUFFIXES
from edgessd.io.images import load_image
from edgessd.io.local import is_pattern, local_path
from edgessd.io.sources import expand
from edgessd.io.video import VideoFile, VideoFrame, is_video
from edgessd.io.video.types import resized

_FOLDER_FPS = 5.0  # of a video made of the pictures of a folder


def open_source(source: str, *, timeout: float = 10.0, size: Size | None = None, loop: bool = False) -> FrameSource:
    """Open what the user names and return it.

    source: `demo`; `browser` (frames come from the web view alone); the number or device path of a camera;
    `picamera` (or `picamera:1`); a GStreamer pipeline (with ` ! ` in it); the address of a stream or video;
    a video file; a picture, a folder or a pattern of pictures.
    timeout: seconds for an address to answer. size: (width, height); a camera is asked for it, other frames are
    resized. loop: begin again at the end of a file. Raises InputError that says what to try.
    """
    source = local_path(source)
    opened = _open(source, timeout, size)
    if opened.live:
        return opened
    return Looping(lambda: _open(source, timeout, size), opened) if loop else opened


def _open(source: str, timeout: float, size: Size | None) -> FrameSource:
    if source == "demo":
        return DemoSource(size)
    if source == "browser":
        return BrowserOnly()
    pi = re.fullmatch(r"picamera2?(?::(\d))?", source)
    if pi is not None and not Path(source).exists():
        from edgessd.apps.camera.picamera import PicameraSource

        return PicameraSource(int(pi.group(1) or 0), size)
    number = _camera_number(source)
    if number is not None:
        return open_camera(number, size)
    if " ! " in source and not Path(source).exists():
        return open_pipeline(source, size)
    if url_scheme(source) is not None and not (url_scheme(source) in ("http", "https") and is_video(source)):
        return open_stream(source, timeout, size)
    if not is_video(source) and (_names_pictures(source) or Path(source).is_file()):
        return PictureSource(source, size)
    return FileSource(VideoFile(source, timeout=timeout), size)


def _camera_number(source: str) -> int | None:
    number = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", source)
    if number is None and source.startswith("/dev/v4l/"):  # names that stay the same: /dev/v4l/by-id/...
        number = re.fullmatch(r"/dev/video(\d{1,3})", str(Path(source).resolve()))
    return int(number.group(1)) if number is not None and not Path(source).is_file() else None


def _names_pictures(source: str) -> bool:
    if Path(source).suffix.lower() in SUFFIXES:
        return True
    return Path(source).is_dir() or is_pattern(source)


class FileSource(PlainSource):
    """Every frame of a video file."""

    def __init__(self, video: VideoFile, size: Size | None = None) -> None:
        self._video, self._size = video, size
        self.name = printable(video.source)
        self.fps = video.info.fps
        self.frame_count = video.info.frame_count
        if size is None:
            self.pixel_aspect = video.info.pixel_aspect

    def __iter__(self) -> Iterator[VideoFrame]:
        for image, seconds in self._video:
            yield VideoFrame(resized(image, self._size), seconds)

    def close(self) -> None:
        """Close the file."""
        self._video.close()


class PictureSource(PlainSource):
    """Every picture of a folder or a pattern; one that cannot be read is reported and left out."""

    fps = _FOLDER_FPS

    def __init__(self, source: str, size: Size | None = None) -> None:
        self.name = shown_source(source)
        pictures = [path for path in expand(source) if not is_video(path)]
        if not pictures:
            raise InputError(f"{self.name}: only videos match this pattern: name one of them")
        self._pictures, self._size = pictures, size
        self.frame_count = len(pictures)

    def __iter__(self) -> Iterator[VideoFrame]:
        last: EdgeSSDError | None = None
        count = 0
        for path in self._pictures:
            try:
                image = load_image(path)
            except EdgeSSDError as error:
                last = error
                print(f"left out: {error}", file=sys.stderr, flush=True)
                continue
            yield VideoFrame(resized(np.array(image, order="C"), self._size), count / self.fps)
            count += 1
        if count == 0 and last is not None:
            raise last


class DemoSource(PlainSource):
    """The demo clip."""

    name = "demo"
    fps = demo.FPS
    frame_count: int | None = demo.FRAMES

    def __init__(self, size: Size | None = None) -> None:
        self._size = size

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, image in enumerate(demo.demo_clip(size=self._size or demo.SIZE)):
            yield VideoFrame(image, number / self.fps)


class Looping(PlainSource):
    """A file, again and again; frames and time go on."""

    def __init__(self, open_again: Callable[[], FrameSource], first: FrameSource) -> None:
        self._open, self._source = open_again, first
        self.name, self.fps, self.pixel_aspect = first.name, first.fps, first.pixel_aspect

    def __iter__(self) -> Iterator[VideoFrame]:
        begin = end = 0.0
        while True:
            for image, seconds in self._source:
                yield VideoFrame(image, begin + seconds)
                end = begin + seconds + 1 / self.fps
            begin = end
            self._source.close()
            self._source = self._open()

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class BrowserOnly(PlainSource):
    """No camera here: the web view's visitors bring theirs."""

    name = "browser"
    live = True

    def __init__(self) -> None:
        self._ending = threading.Event()
        self.trouble = "waiting for the camera of a browser"

    def __iter__(self) -> Iterator[VideoFrame]:
        self._ending.wait()
        return iter(())

    def interrupt(self) -> None:
        """End the wait."""
        self._ending.set()
