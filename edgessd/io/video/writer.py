"""Writing video files."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from edgessd.errors import InputError
from edgessd.io.files import check_writable, printable, put_in_place, temporary_beside, writing
from edgessd.io.leftovers import keep
from edgessd.io.video import pyav
from edgessd.io.video.mp4 import read_mp4
from edgessd.io.video.opencv import CODECS, OpenCvEncoder
from edgessd.io.video.reader import open_decoder
from edgessd.io.video.types import Encoder, Image, resized, usable_fps


class VideoWriter:
    """Writes frames to a video file at the times that they are given; the codec is chosen by the suffix.

    With PyAV: H.264 in .mp4, .m4v, .mov and .mkv, VP8 in .webm; such a file grows under its own name, and can be
    played whatever happens to the program. A file of that name that is there already stays until the new one is
    finished; a recording that was never finished gets the name NAME.recovered.SUFFIX. With OpenCV alone, and for .avi:
    MPEG-4 (in .webm VP8, in .avi JPEG), which takes its place in `close`.

    As a context manager it closes after exceptions too: what was written until then is kept. Without any frame no
    file is made.

    path: the target. fps: nominal frames per second; with OpenCV those of the file, where frames are repeated to keep
    the time. size: (width, height); frames of another size are resized to it. pixel_aspect: width of a pixel by its
    height. count: frames given so far.
    Raises InputError when the suffix is unknown or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float,
        size: tuple[int, int],
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.path, self.size, self.count = Path(path), size, 0
        place = check_video_target(self.path)
        self._fps = usable_fps(fps)
        self._first = self._time = 0.0
        own = pyav.writes(self.path.suffix.lower())
        if own and _unfinished(place):  # a run that was killed has left it: it is not to be written over
            keep(place, place.stem, place.suffix)
        # What can be played at any time need not hide.
        self._file = place if own and not place.exists() else temporary_beside(place)
        self._finished = self._file == place
        make = pyav.PyAvEncoder if own else OpenCvEncoder
        self._encoder: Encoder | None = None
        try:
            self._encoder = make(self._file, fps=self._fps, size=size, pixel_aspect=pixel_aspect)
        except (OSError, ValueError) as error:
            self._file.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"{printable(path)}: {size[0]} x {size[1]} video cannot be written as {self.path.suffix} ({reason}): "
                "try another size, or .avi"
            ) from error

    def write(self, frame: Image, time: float | None = None) -> None:
        """Add one frame, uint8 [H, W, 3], BGR.

        time: in seconds on any clock; the first frame is the beginning of the video. None is one nominal interval
        after the frame before.
        """
        if self._encoder is None:
            raise ValueError("the video is finished")
        if time is None:
            time = self._time + 1 / self._fps if self.count else 0.0
        if self.count == 0:
            self._first = time
        self._time = max(time, self._time) if self.count else time
        with writing(self.path):
            # A frame of another size would be dropped in silence.
            self._encoder.write(resized(frame, self.size), self._time - self._first)
        self.count += 1

    def close(self) -> None:
        """Finish the video and put it at its place. Raises InputError when what was written is no playable video."""
        if self._encoder is None:
            return
        encoder, self._encoder = self._encoder, None
        try:
            with writing(self.path):
                encoder.close()
            if self.count == 0:
                self._file.unlink(missing_ok=True)
                return
            if not _playable(self._file):
                raise InputError(f"cannot write {printable(self.path)}: the video could not be finished (disk full?)")
            if not self._finished:
                put_in_place(self._file, self.path)
        finally:
            if not self._finished:
                self._file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_video_target(path: Path, made: Path | None = None) -> Path:
    """Return where a video is written, links followed; raise InputError for another suffix or a missing folder.

    made: as in `check_writable`.
    """
    if path.suffix.lower() not in CODECS:
        raise InputError(
            f"{printable(path)}: videos are written as {', '.join(CODECS)}: give the file one of these suffixes"
        )
    return check_writable(path, made)


def _unfinished(path: Path) -> bool:
    """Whether there is a recording that nobody has finished."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    mp4 = read_mp4(path)
    if mp4 is not None:
        return mp4.fragmented
    if path.suffix.lower() not in (".mkv", ".webm"):
        return False
    try:
        decoder = open_decoder(str(path))
    except InputError:
        return False
    decoder.close()
    return decoder.info.duration is None


def shortcoming_of(path: Path) -> str | None:
    """Say in one line what a video that is written to `path` lacks without PyAV; None where it lacks nothing."""
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov") or pyav.writes(path.suffix.lower()):
        return None
    return (
        f"{printable(path)}: MPEG-4 part 2 at a fixed rate, which browsers do not play and a kill destroys: "
        "pip install 'edgessd[video]' for H.264, or name it .webm"
    )


def browser_suffix() -> str:
    """The suffix of videos that this machine can write and every browser plays."""
    return ".mp4" if pyav.writes(".mp4") else ".webm"


def _playable(path: Path) -> bool:
    try:
        decoder = open_decoder(str(path))
    except InputError:
        return False
    try:
        return next(iter(decoder.frames()), None) is not None
    finally:
        decoder.close()
