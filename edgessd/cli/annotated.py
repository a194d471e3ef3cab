"""Annotated copies of pictures and videos in a folder."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.draw.detections import draw_detections
from edgessd.errors import InputError
from edgessd.io.files import make_folder, write_bytes_atomic
from edgessd.io.sources import is_video
from edgessd.io.video import VideoWriter, open_capture, usable_fps
from edgessd.results import Detections

# What OpenCV writes as it reads; other pictures (GIF, AVIF, ...) get a JPEG.
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class AnnotatedOutput:
    """Context manager that draws detections and saves the result under the name of its source.

    folder: where to; it is made if missing; None draws and saves nothing. Two sources of one name
    get numbered files. `written` lists the files.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._video: tuple[str, VideoWriter] | None = None
        if folder is not None:
            make_folder(folder)

    def add(self, source: str, number: int, image: NDArray[np.uint8], detections: Detections) -> None:
        """Draw one picture, or the next frame of a video, and save it."""
        if self.folder is None:
            return
        drawn = draw_detections(
            image, detections.boxes, detections.labels, detections.scores, detections.names, copy=False
        )
        if not is_video(source):
            self._close_video()
            self._write_picture(self._target(source, _SUFFIXES, ".jpg"), drawn)
            return
        if self._video is None or self._video[0] != source:
            self._close_video()
            target = self._target(source, {".mp4", ".avi"}, ".mp4")
            self._video = (source, VideoWriter(target, fps=_fps_of(source), size=(drawn.shape[1], drawn.shape[0])))
            self.written.append(target)
        self._video[1].write(drawn)

    def _target(self, source: str, suffixes: set[str], default: str) -> Path:
        assert self.folder is not None
        name = Path(unquote(urlsplit(source).path) if "://" in source else source).name or "picture"
        path = Path(name)
        suffix = path.suffix.lower() if path.suffix.lower() in suffixes else default
        number, target = 1, self.folder / f"{path.stem}{suffix}"
        while target in self.written:
            number += 1
            target = self.folder / f"{path.stem}-{number}{suffix}"
        if "://" not in source and target.exists() and target.samefile(source):
            raise InputError(f"{target} would overwrite its own source: give --save another folder")
        return target

    def _write_picture(self, target: Path, picture: NDArray[np.uint8]) -> None:
        ok, data = cv2.imencode(target.suffix, picture)
        if not ok:
            raise InputError(f"{target} cannot be encoded as {target.suffix}")
        write_bytes_atomic(target, data.tobytes())
        self.written.append(target)

    def _close_video(self) -> None:
        if self._video is not None:
            self._video[1].close()
            self._video = None

    def __enter__(self) -> AnnotatedOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_video()


def _fps_of(source: str) -> float:
    """Frames per second of a video, or the usual rate where it does not say."""
    capture = open_capture(source)
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return usable_fps(fps)
