"""Short videos around events."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

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
    fps: of the video. Frames are lost, and not the camera's pace, when the disk is slow. A clip that cannot be
    written is reported; the next one is tried again. `written` lists the files.
    """

    pictures = True

    def __init__(self, folder: Path, *, fps: float, before: float = 3.0, after: float = 5.0, live: bool) -> None:
        make_folder(folder)
        check_writable(folder / "clip.mp4")
        self._folder, self._fps, self._before, self._after = folder, fps, before, after
        self.written: list[Path] = []
        self._recent: deque[tuple[float, bytes]] = deque()
        self._writer: VideoWriter | None = None
        self._began = self._until = 0.0
        self._event: Event | None = None
        self._worker: Worker[tuple[float, Image, Event | None]] = Worker("clips", self._take, size=_QUEUE, lossy=live)

    def trigger(self, event: Event, stamp: float) -> None:
        """Say that the frame that comes next into `add` has an event."""
        self._event = event

    def add(self, result: Result, picture: Image) -> None:
        """Take one frame."""
        event, self._event = self._event, None
        self._worker.put((result.frame.stamp, picture, event))

    def idle(self, picture: Image | None) -> None:
        """Nothing to write."""

    def _take(self, item: tuple[float, Image, Event | None]) -> None:
        stamp, picture, event = item
        if event is not None:
            self._until = stamp + self._after
        if self._writer is None and event is not None:
            self._begin(event, stamp, picture)
        if self._writer is not None:
            if stamp <= self._until + 1e-6 and stamp - self._began <= _LONGEST:
                self._write(stamp, picture)
            else:
                self._finish()
        self._recent.append((stamp, encode_jpeg(picture)))
        self._forget(stamp)

    def _forget(self, stamp: float) -> None:
        """Drop pictures that are too old, or from a clock that was set back."""
        while self._recent and not 0 <= stamp - self._recent[0][0] <= self._before + 1e-6:
            self._recent.popleft()

    def _begin(self, event: Event, stamp: float, picture: Image) -> None:
        safe = "".join(letter if letter.isalnum() else "_" for letter in event.name)
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{event.frame:06d}-{safe}.mp4"
        try:
            self._writer = VideoWriter(self._folder / name, fps=self._fps, size=(picture.shape[1], picture.shape[0]))
        except EdgeSSDError as error:
            self._report(error)
            return
        self._forget(stamp)
        self._began = self._recent[0][0] if self._recent else stamp
        for before, data in self._recent:
            self._write(before, decode_jpeg(data))
        self._recent.clear()

    def _write(self, stamp: float, picture: Image) -> None:
        """Write a frame as often as it takes to keep the pace of the clock."""
        assert self._writer is not None
        due = round((stamp - self._began) * self._fps) + 1
        for _ in range(min(due - self._writer.count, round(self._fps) * 2)):
            self._writer.write(picture)

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
