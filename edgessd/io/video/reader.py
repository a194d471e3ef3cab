"""Reading video files."""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from edgessd._forever import keep_for_ever
from edgessd.errors import InputError
from edgessd.io.address import Address, source_name, url_scheme
from edgessd.io.files import printable
from edgessd.io.local import local_path
from edgessd.io.video import pyav
from edgessd.io.video.opencv import OpenCvDecoder, open_capture
from edgessd.io.video.types import Decoder, StreamClock, VideoFrame

_decoders: weakref.WeakSet[Decoder] = weakref.WeakSet()


class VideoFile:
    """A video file (or the address of one): context manager and iterator over its frames.

        >>> with VideoFile("street.mp4") as video:
        ...     for image, seconds in video:  # image: uint8 [H, W, 3], BGR
        ...         ...

    source: the path, or the address as it may be shown. info: size, frame rate and length as announced
    (`VideoInfo`). index: number of frames read so far.

    Opening raises InputError for a file that is missing, empty or no video. Iterating yields all frames that can be
    read, and then raises InputError when the end is missing.
    """

    def __init__(self, source: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        """Open a video. timeout: seconds to wait for an address to open, and for each of its frames."""
        text = local_path(os.fspath(source))
        remote = url_scheme(text) is not None
        self.source = source_name(text)
        self._name = printable(self.source)
        if not remote:
            _check_file(text, self._name)
        try:
            self._decoder = open_decoder(text, timeout=timeout)
        except InputError as error:
            raise InputError(
                f"{self._name}: cannot be opened as a video ({error}): "
                + (
                    "check the address and the network"
                    if remote
                    else "it is damaged, its end is missing, or it is no video; copy it again or convert it to MP4"
                )
            ) from None
        self.info = self._decoder.info
        self.index = 0
        self._process = os.getpid()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield each frame; its picture is an array of its own."""
        clock, frames = StreamClock(self.info.fps), self._decoder.frames()
        while True:
            if os.getpid() != self._process:  # its threads are not here, and the file is one with the parent
                raise InputError(f"{self._name}: was opened before this process was forked: open it in the child")
            if (frame := next(frames, None)) is None:
                break
            image, stamp = frame
            self.index += 1
            yield VideoFrame(image, clock.at(stamp))
        if self.index == 0:
            raise InputError(f"{self._name}: no frame of this video can be read: copy it again or convert it to MP4")
        missing = self._decoder.missing()
        if missing is not None:
            raise InputError(
                f"{self._name}: the video is damaged after {self.index} frames: {missing}: copy or download it again"
            )

    def close(self) -> None:
        """Close the file; a second call does nothing, nor does one in the child of a fork."""
        if os.getpid() == self._process:
            self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_decoder(source: str, *, timeout: float = 10.0, live: bool = False) -> Decoder:
    """Open a file, or an address, in PyAV where it is installed, else in OpenCV.

    timeout: seconds for an address to open, and for each of its frames. live: a stream without an end.
    Raises InputError that says in a few words what is wrong.
    """
    remote = url_scheme(source) is not None
    if pyav.available():
        # An absolute path, so that a name with a colon is not taken for one of FFmpeg's protocols.
        where = Address.parse(source).with_login if remote else f"file:{Path(source).absolute()}"
        decoder: Decoder = pyav.PyAvDecoder(where, timeout=timeout if remote else None, live=live)
    else:
        decoder = OpenCvDecoder(open_capture(source, timeout=timeout), None if remote else source)
    _decoders.add(decoder)
    return decoder


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


def _in_child() -> None:
    for decoder in list(_decoders):
        keep_for_ever(dict(vars(decoder)))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
