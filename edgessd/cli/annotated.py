"""Annotated copies of pictures and videos in a folder."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.detector import Frame
from edgessd.draw.detections import draw_detections
from edgessd.errors import InputError
from edgessd.io.address import file_name
from edgessd.io.files import make_folder, write_bytes_atomic
from edgessd.io.targets import FreeNames
from edgessd.io.video import VideoWriter, browser_suffix

# What OpenCV writes as it reads; other pictures (GIF, AVIF, ...) get a JPEG.
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class AnnotatedOutput:
    """Context manager that draws detections and saves the result under the name of its source.

    folder: where to; it is made if missing; None draws and saves nothing. `written` lists the files. A file that is
    there already, a source or not, is never replaced: the copy gets a number, as the second of two sources of one name.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._video: VideoWriter | None = None
        self._names = None if folder is None else FreeNames(folder)
        if folder is not None:
            make_folder(folder)

    def add(self, frame: Frame) -> None:
        """Draw one picture, or the next frame of a video, and save it. Videos keep their clock and their aspect."""
        if self.folder is None:
            return
        found = frame.detections
        drawn = draw_detections(frame.image, found.boxes, found.labels, found.scores, found.names, copy=False)
        if frame.video is None:
            self._close_video()
            self._write_picture(self._target(frame.source, _SUFFIXES, ".jpg"), drawn)
            return
        if self._video is None or frame.number == 0:
            self._close_video()
            target, video = self._target(frame.source, set(), browser_suffix()), frame.video
            size = (drawn.shape[1], drawn.shape[0])
            self._video = VideoWriter(target, fps=video.fps, size=size, pixel_aspect=video.pixel_aspect)
            self.written.append(target)
        self._video.write(drawn, frame.time)

    def _target(self, source: str, suffixes: set[str], default: str) -> Path:
        assert self._names is not None
        path = Path(file_name(source))
        suffix = path.suffix.lower() if path.suffix.lower() in suffixes else default
        return self._names.choose(path.stem, suffix)

    def _write_picture(self, target: Path, picture: NDArray[np.uint8]) -> None:
        ok, data = cv2.imencode(target.suffix, picture)
        if not ok:
            raise InputError(f"{target} cannot be encoded as {target.suffix}")
        write_bytes_atomic(target, data.tobytes())
        self.written.append(target)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None

    def __enter__(self) -> AnnotatedOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_video()
