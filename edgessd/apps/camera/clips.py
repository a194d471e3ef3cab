"""Short videos around events."""

from __future__ import annotations

import sys
from collections import deque
from fractions import Fraction
from pathlib import Path
from time import strftime

from edgessd.apps.camera.events import Event
from edgessd.apps.camera.jpeg import decode_jpeg, encode_jpeg
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.worker import Worker
from edgessd.errors import EdgeSSDError
from edgessd.io.files import check_writable, make_folder
from edgessd.io.images import Image
from edgessd.io.video import VideoWriter

_QUEUE = 8
_LONGEST = 300.0  # seconds of a clip at most, however often it is triggered again


class ClipOutput:
    """Keeps the last seconds as JPEG in memory and writes a video around each event, in a thread.

    folder: made if missing. before, after: seconds around the event; another event during a clip makes it longer.
    fps: nominal frames per second. pixel_aspect: width of a pixel by its height.
    Frames are lost, and not the camera's pace, when the disk is slow. A clip that cannot be written is reported; the
    next one is tried again. `written` lists the files.
    """

    pictures = True

    def __init__(
        self,
        folder: Path,
        *,
        fps: float,
        before: float = 3.0,
        after: float = 5.0,
        live: bool,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        make_folder(folder)
        check_writable(folder / "clip.mp4")
        self._folder, self._fps, self._before, self._after = folder, fps, before, after
        self._pixel_aspect = pixel_aspect
        self.written: list[Path] = []
        self._recent: deque[tuple[float, bytes]] = deque()
        self._writer: VideoWriter | None = None
        self._began = self._until = 0.0
        self._event: Event | None = None
        self._worker: Worker[tuple[float, Image, Event | None]] = Worker("clips", self._take, size=_QUEUE, lossy=live)

    def trigger(self, event: Event) -> None:
        """Say that the frame that comes next into `add` has an event."""
        self._event = event

    def add(self, result: Result, picture: Image) -> None:
        """Take one frame."""
        event, self._event = self._event, None
        self._worker.put((result.frame.time, picture, event))

    def idle(self, picture: Image | None) -> None:
        """Nothing to write."""

    def _take(self, item: tuple[float, Image, Event | None]) -> None:
        time, picture, event = item
        if event is not None:
            self._until = time + self._after
        if self._writer is None and event is not None:
            self._begin(event, time, picture)
        if self._writer is not None:
            if time <= self._until + 1e-6 and time - self._began <= _LONGEST:
                self._writer.write(picture, time)
            else:
                self._finish()
        self._recent.append((time, encode_jpeg(picture)))
        self._forget(time)

    def _forget(self, now: float) -> None:
        """Drop pictures that are too old."""
        while self._recent and now - self._recent[0][0] > self._before + 1e-6:
            self._recent.popleft()

    def _begin(self, event: Event, now: float, picture: Image) -> None:
        safe = "".join(letter if letter.isalnum() else "_" for letter in event.name)
        name = f"{strftime('%Y%m%d-%H%M%S')}-{event.frame:06d}-{safe}.mp4"
        size = (picture.shape[1], picture.shape[0])
        try:
            self._writer = VideoWriter(self._folder / name, fps=self._fps, size=size, pixel_aspect=self._pixel_aspect)
        except EdgeSSDError as error:
            self._report(error)
            return
        self._forget(now)
        self._began = self._recent[0][0] if self._recent else now
        for before, data in self._recent:
            self._writer.write(decode_jpeg(data), before)
        self._recent.clear()

    def _finish(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.close()
            self.written.append(writer.path)
            del self.written[:-1000]
        except EdgeSSDError as error:
            self._report(error)

    def _report(self, error: EdgeSSDError) -> None:
        print(f"clip: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the clip that is being written."""
        try:
            self._worker.close()
        finally:
            self._finish()
