"""Live sources: cameras, pipelines, streams, and addresses that give one picture at a time."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgessd._cv2 import cv2
from edgessd.apps.camera.frame_source import FrameSource, PlainSource, Size
from edgessd.errors import DependencyError, InputError, printable
from edgessd.io.address import Address, shown_source, url_scheme
from edgessd.io.images import load_image
from edgessd.io.remote import FAILURES, failure, open_url
from edgessd.io.video import Decoder, VideoFrame, open_decoder
from edgessd.io.video.opencv import OpenCvDecoder, open_capture
from edgessd.io.video.types import resized
from edgessd.masking import masked_properties

_SNAPSHOTS = 5.0  # a second, at most


class LiveSource(PlainSource):
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


class SnapshotSource(PlainSource):
    """A camera that gives its latest picture at an address: asked again and again, five times a second at most."""

    live = True
    fps = _SNAPSHOTS

    def __init__(self, address: str, timeout: float = 10.0, size: Size | None = None) -> None:
        self.name = shown_source(address)
        self._address, self._timeout, self._size = address, timeout, size
        self._ending = threading.Event()

    def __iter__(self) -> Iterator[VideoFrame]:
        while not self._ending.is_set():
            begun = time.perf_counter()
            image = np.array(load_image(self._address, timeout=self._timeout), order="C")
            arrived = time.perf_counter()
            yield VideoFrame(resized(image, self._size), arrived)
            self._ending.wait(begun + 1 / self.fps - time.perf_counter())

    def interrupt(self) -> None:
        """End the wait."""
        self._ending.set()


def open_camera(number: int, size: Size | None) -> FrameSource:
    """Open the camera of this number and ask it for `size`. Raises InputError."""
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


def open_pipeline(pipeline: str, size: Size | None) -> FrameSource:
    """Open a GStreamer pipeline. Raises InputError, or DependencyError where OpenCV was built without GStreamer."""
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


def open_stream(address: str, timeout: float, size: Size | None) -> FrameSource:
    """Open a stream, or the address of a picture, which is then asked for again and again. Raises InputError."""
    name = Address.parse(address).shown
    try:
        if url_scheme(address) in ("http", "https") and _answers_with_picture(address, timeout):
            return SnapshotSource(address, timeout, size)
        return LiveSource(open_decoder(address, timeout=timeout, live=True), name, size)
    except InputError as error:
        raise InputError(
            f"{name}: this stream cannot be opened ({error}): check address, login and network, or try it in a player "
            "such as VLC"
        ) from None


def _answers_with_picture(address: str, timeout: float) -> bool:
    """Whether one request is answered with one picture; a stream of JPEGs is `multipart`. Raises InputError."""
    try:
        with open_url(Address.parse(address), timeout=timeout) as response:
            return response.headers.get_content_maintype() == "image"
    except FAILURES as error:
        raise InputError(failure(error)) from None


def _no_camera(name: str) -> str:
    text = f"{name} cannot be opened: it is not plugged in, or another program uses it"
    if sys.platform.startswith("linux"):
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        text += f" (found {', '.join(found)})" if found else " (there is no /dev/video* here)"
    return f"{text}: try another number, a video file, or --source demo"
