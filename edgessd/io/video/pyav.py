"""Videos through PyAV (the extra `video`), which has all that FFmpeg knows about a stream."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edgessd._cv2 import cv2
from edgessd.errors import InputError, printable
from edgessd.io.video.orient import UPRIGHT, Matrix, display_matrix, turned, turned_aspect, turned_size
from edgessd.io.video.types import Image, VideoInfo, check_size, resized, square_size, usable_fps

_TICKS = 90_000  # of our stamps, a second

# Containers whose announced duration is a promise; elsewhere FFmpeg guesses it.
_PROMISING = ("mov", "matroska", "avi", "asf", "flv", "ogg")
_RAW = ("h264", "hevc", "mjpeg", "m4v")  # without stamps: the rate in the stream itself counts

# H.264 is what every browser plays. `superfast` is for a Raspberry Pi; `zerolatency` holds no frame back, so that
# little is lost with the power. Matroska's clusters and MP4's fragments are written each half second; in the end MP4
# becomes a plain one.
_H264 = {"preset": "superfast", "tune": "zerolatency", "crf": "23"}
_VP8 = {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "4M"}
_MP4 = {"movflags": "hybrid_fragmented", "frag_duration": "500000", "flush_packets": "1"}
_MKV = {"cluster_time_limit": "500", "flush_packets": "1"}
_CONTAINERS = {
    ".mp4": ("libx264", _H264, _MP4),
    ".m4v": ("libx264", _H264, _MP4),
    ".mov": ("libx264", _H264, _MP4),
    ".mkv": ("libx264", _H264, _MKV),
    ".webm": ("libvpx", _VP8, _MKV),
}


def available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def writes(suffix: str) -> bool:
    """Whether PyAV is there and has the encoder for this suffix."""
    if suffix not in _CONTAINERS or not available():
        return False
    import av

    return _CONTAINERS[suffix][0] in av.codecs_available


class PyAvDecoder:
    """A video file, the address of one, or a stream.

    live: every frame as early as possible, and the end is not looked at. timeout: seconds for an address to open, and
    for each of its frames. Raises InputError where there is no video in it; `why` says in a few words what was wrong.
    """

    def __init__(self, source: str, *, timeout: float | None = None, live: bool = False) -> None:
        import av

        self._av, self._live = av, live
        options = {"fflags": "nobuffer", "rtsp_transport": "tcp", **_wished_options()} if live else {}
        try:
            self._container = av.open(source, timeout=timeout, options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise InputError(_reason(error)) from None  # its own text has the whole address
        try:
            self._stream = next(each for each in self._container.streams.video if not _is_cover(each))
        except StopIteration:
            self._container.close()
            raise InputError("there is no video in it") from None
        if self._stream.codec_context is None:
            self._container.close()
            raise InputError("its codec is unknown")
        check_size((self._stream.codec_context.width, self._stream.codec_context.height))
        self._stream.thread_type = "SLICE" if live else "AUTO"
        self._first: Any = None
        self._packets = self._damaged = 0
        self._end: Fraction | None = None
        self._error: str | None = None
        self._matrix = UPRIGHT
        self._decoded = self._decode()
        try:
            self._first = next(self._decoded, None)
        except InputError:
            self._container.close()
            raise
        self.info = self._describe()

    def _describe(self) -> VideoInfo:
        stream, codec = self._stream, self._stream.codec_context
        if self._first is not None:
            self._matrix = _matrix(self._first)
        raw = self._container.format.name in _RAW
        aspect = stream.sample_aspect_ratio or codec.sample_aspect_ratio or Fraction(1)
        return VideoInfo(
            size=turned_size((codec.width, codec.height), self._matrix),
            fps=usable_fps((stream.guessed_rate if raw else stream.average_rate) or stream.guessed_rate),
            frame_count=None if self._live else self._count(),
            duration=None if self._live else self._duration(),
            pixel_aspect=turned_aspect(aspect if aspect > 0 else Fraction(1), self._matrix),
        )

    def _count(self) -> int | None:
        """Frames that are shown: an edit list of an MP4 leaves some out, and fragments are not counted."""
        stream, count = self._stream, int(self._stream.frames)
        if self._container.format.name.startswith("mov") and stream.duration and stream.average_rate:
            count = round(stream.duration * stream.time_base * stream.average_rate)
        return count if count else None

    def _duration(self) -> float | None:
        promised, start = self._promised(), (self._stream.start_time or 0) * (self._stream.time_base or 0)
        return None if promised is None else float(promised - start if promised > start else promised)

    def _promised(self) -> Fraction | None:
        """Seconds, from the beginning of the container's clock to the announced end; None without a promise."""
        stream, name = self._stream, self._container.format.name
        if not name.startswith(_PROMISING):
            return None
        if name == "avi" and stream.frames and stream.average_rate:  # FFmpeg shortens the duration of a cut file
            return Fraction(stream.frames / stream.average_rate)
        if stream.duration:
            return Fraction(((stream.start_time or 0) + stream.duration) * stream.time_base)
        if self._container.duration:  # counted from 0 in Matroska, not from the first stamp
            return Fraction(self._container.duration, 1_000_000)
        return None

    def frames(self) -> Iterator[tuple[Image, float | None]]:
        """Yield each frame and its stamp."""
        if self._first is not None:
            first, self._first = self._first, None
            yield self._picture(first)
        for frame in self._decoded:
            yield self._picture(frame)

    def _picture(self, frame: Any) -> tuple[Image, float | None]:
        image = turned(frame.to_ndarray(format="bgr24"), self._matrix)
        return image, None if frame.pts is None else float(frame.pts * frame.time_base)

    def _decode(self) -> Iterator[Any]:
        av = self._av
        try:
            for packet in self._container.demux():
                self._note_end(packet)
                if packet.stream is not self._stream:
                    continue
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:  # this packet only; the next key frame is whole again
                    self._damaged += 1
        except av.FFmpegError as error:
            if self._live:
                raise InputError(_reason(error)) from None
            self._error = _reason(error)

    def _note_end(self, packet: Any) -> None:
        """Remember how far the file went; all streams count, as sound may go on when the pictures have ended."""
        self._packets += packet.stream is self._stream and packet.size > 0
        if packet.pts is not None and packet.time_base:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._end = end if self._end is None else max(self._end, end)

    def missing(self) -> str | None:
        """After the last frame: what is missing, None when the file is whole."""
        if self._error is not None:
            return f"it ends with an error ({self._error})"
        promised = self._promised()
        if promised is not None and self._end is not None:
            slack = max(2 / self.info.fps, min(float(promised) / 100, 2.0))
            if float(self._end) < float(promised) - slack:
                return f"it ended after {float(self._end):.1f} of {float(promised):.1f} s"
        if self._damaged > max(2, self._packets // 100):
            return f"{self._damaged} of {self._packets} frames cannot be decoded"
        return None

    def close(self) -> None:
        """Close the file or connection."""
        self._decoded.close()  # type: ignore[attr-defined]
        self._container.close()


def _wished_options() -> dict[str, str]:
    """Options of FFmpeg that the user has set for OpenCV: `rtsp_transport;udp|max_delay;500000`."""
    pairs = (pair.partition(";") for pair in os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "").split("|"))
    return {name: value for name, _, value in pairs if name and value}


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _matrix(frame: Any) -> Matrix:
    side = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if side is None else display_matrix(bytes(side))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError) or type(error).__name__ in ("ExitError", "TimeoutError"):
        return "no answer in time"
    return printable(getattr(error, "strerror", None) or error).lower()


class PyAvEncoder:
    """Writes H.264 (in .webm VP8) with the stamps of its frames; the file begins with the first of them.

    An MP4 consists of fragments until it is finished, so that it can be played whatever happens to the program.
    Raises ValueError for a size without pixels.
    """

    def __init__(self, path: Path, *, fps: float, size: tuple[int, int], pixel_aspect: Fraction = Fraction(1)) -> None:
        if min(size) < 1:
            raise ValueError("there is nothing in it")
        self.count = 0
        self._path, self._fps, self._aspect = path, fps, pixel_aspect
        if path.suffix.lower() == ".webm":  # VP8 knows square pixels only
            self._aspect, size = Fraction(1), square_size(size, pixel_aspect)
        self._pixels = size
        self._pad = (size[1] % 2, size[0] % 2)  # H.264 as everybody plays it has even sides
        self._size = (size[0] + self._pad[1], size[1] + self._pad[0])
        self._container: Any = None
        self._last, self._interval = -1, round(_TICKS / fps)
        self._held: Any = None

    def _open(self) -> None:
        import av

        codec, options, container = _CONTAINERS[self._path.suffix.lower()]
        self._frame = av.VideoFrame
        self._container = av.open(str(self._path.absolute()), "w", options=container)
        rate = Fraction(self._fps).limit_denominator(1001)
        self._stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.gop_size = max(1, round(2 * self._fps))
        context.sample_aspect_ratio = self._aspect
        context.colorspace = 6  # BT.601, as pixels are converted; players take large videos for BT.709 otherwise

    def write(self, image: Image, time: float) -> None:
        """Add a frame."""
        if self._container is None:
            self._open()
        image = resized(image, self._pixels)
        if any(self._pad):
            image = cv2.copyMakeBorder(image, 0, self._pad[0], 0, self._pad[1], cv2.BORDER_REPLICATE).astype(
                np.uint8, copy=False
            )
        frame = self._frame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        stamp = max(round(time * _TICKS), self._last + 1)
        if self.count:
            self._interval = stamp - self._last
        frame.pts, frame.time_base, self._last = stamp, Fraction(1, _TICKS), stamp
        self._mux(self._stream.encode(frame))
        self.count += 1

    def _mux(self, packets: list[Any]) -> None:
        """Hand on each packet when the next one says how long its frame is shown."""
        for packet in packets:
            if self._held is not None:
                self._held.duration = packet.pts - self._held.pts
                self._container.mux(self._held)
            self._held = packet

    def close(self) -> None:
        """Finish the file."""
        if self._container is None:
            return
        container, count = self._container, self.count
        try:
            if count:  # FFmpeg 8 crashes over the end of an MP4 without frames
                self._mux(self._stream.encode(None))
                self._held.duration = min(self._interval, _TICKS)
                container.mux(self._held)
        finally:
            self._container, self.count = None, 0
            if count:
                container.close()
