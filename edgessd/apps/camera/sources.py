"""Opening what the user names: a camera, a video, pictures, a stream, or the demo clip."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from edgessd._cv2 import cv2
from edgessd.apps.camera import demo
from edgessd.errors import DependencyError, EdgeSSDError, InputError
from edgessd.io.address import shown_source, url_scheme
from edgessd.io.files import printable
from edgessd.io.formats import SUFFIXES
from edgessd.io.images import Image, load_image
from edgessd.io.local import local_path
from edgessd.io.sources import expand
from edgessd.io.video import Decoder, VideoFile, VideoFrame, is_video, open_decoder
from edgessd.io.video.opencv import OpenCvDecoder, open_capture
from edgessd.masking import masked_properties

Size = tuple[int, int]
_FOLDER_FPS = 5.0  # of a video made of the pictures of a folder


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
        return _open_camera(number, size)
    if " ! " in source and not Path(source).exists():
        return _open_pipeline(source, size)
    if url_scheme(source) is not None and not (url_scheme(source) in ("http", "https") and is_video(source)):
        return _open_stream(source, timeout, size)
    if _names_pictures(source):
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
    return Path(source).is_dir() or (not Path(source).exists() and any(letter in source for letter in "*?["))


def resized(image: Image, size: Size | None) -> Image:
    """Return the picture in `size` (width, height)."""
    if size is None or image.shape[1::-1] == size:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class _Plain:
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


class FileSource(_Plain):
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


class PictureSource(_Plain):
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


class DemoSource(_Plain):
    """The demo clip."""

    name = "demo"
    fps = demo.FPS
    frame_count: int | None = demo.FRAMES

    def __init__(self, size: Size | None = None) -> None:
        self._size = size

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, image in enumerate(demo.demo_clip(size=self._size or demo.SIZE)):
            yield VideoFrame(image, number / self.fps)


class Looping(_Plain):
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


class BrowserOnly(_Plain):
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


class LiveSource(_Plain):
    """A camera or a stream: endless, and its end is an error. size: what its frames are resized to."""

    live = True

    def __init__(self, decoder: Decoder, name: str, size: Size | None = None) -> None:
        self.name, self.fps = name, decoder.info.fps
        self.pixel_aspect = decoder.info.pixel_aspect if size is None else Fraction(1)
        self._decoder, self._size = decoder, size

    def __iter__(self) -> Iterator[VideoFrame]:
        count, reason = 0, ""
        try:
            for image, _ in self._decoder.frames():
                arrived = time.perf_counter()
                count += 1
                yield VideoFrame(resized(image, self._size), arrived)
        except InputError as error:
            reason = f" ({error})"
        if count == 0:
            raise InputError(f"{self.name}: opened, but sends no frames{reason}: is another program using it?")
        raise InputError(
            f"{self.name}: no more frames after {count}{reason}: check the cable or the network and start again"
        )

    def close(self) -> None:
        """Give the camera or the connection back."""
        self._decoder.close()


def _open_camera(number: int, size: Size | None) -> FrameSource:
    name = f"camera {number}"
    capture = open_capture(number)
    if not capture.isOpened():
        capture.release()
        raise InputError(_no_camera(name))
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver can: old frames are of no use
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        got = tuple(round(capture.get(prop)) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if got != size and min(got) > 0:
            print(f"{name}: gives {got[0]}x{got[1]}, not {size[0]}x{size[1]}", file=sys.stderr)
    return LiveSource(OpenCvDecoder(capture), name)


def _open_pipeline(pipeline: str, size: Size | None) -> FrameSource:
    name = printable(masked_properties(pipeline), 60)
    if not re.search(r"GStreamer:\s*YES", cv2.getBuildInformation()):
        raise DependencyError(
            f"{name}: this OpenCV was built without GStreamer (the wheels of pip are): use the system's own "
            "(apt install python3-opencv), or give the number of the camera or the address of the stream"
        )
    try:
        return LiveSource(OpenCvDecoder(cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)), name, size)
    except InputError:
        raise InputError(
            f"{name}: this pipeline does not start: try it with gst-launch-1.0; it must end in ' ! appsink'"
        ) from None


def _open_stream(address: str, timeout: float, size: Size | None) -> FrameSource:
    name = shown_source(address)
    try:
        return LiveSource(open_decoder(address, timeout=timeout, live=True), name, size)
    except InputError as error:
        raise InputError(
            f"{name}: this stream cannot be opened ({error}): check address, login and network, or try it in a player "
            "such as VLC"
        ) from None


def _no_camera(name: str) -> str:
    text = f"{name} cannot be opened: it is not plugged in, or another program uses it"
    if sys.platform.startswith("linux"):
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        text += f" (found {', '.join(found)})" if found else " (there is no /dev/video* here)"
    return f"{text}: try another number, a video file, or --source demo"
