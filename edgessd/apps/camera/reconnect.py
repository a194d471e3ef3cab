"""A live source that comes back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

from edgessd.apps.camera.frame_source import FrameSource
from edgessd.errors import EdgeSSDError
from edgessd.io.video import VideoFrame

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each attempt; the last one repeats


class Reconnecting:
    """A live source that is opened again when it is lost, with growing pauses.

    The first opening is not repeated: a source that never opens, or opens and never sends a frame, is an
    error with what to try. trouble: what is shown on the picture meanwhile. reconnects: how often it came back.
    retries: attempts in a row before the error is raised; None goes on for ever.
    """

    def __init__(self, open_again: Callable[[], FrameSource], *, retries: int | None = None) -> None:
        self._open, self._retries = open_again, retries
        self._source: FrameSource | None = open_again()
        self.name, self.live, self.fps = self._source.name, self._source.live, self._source.fps
        self.frame_count, self.pixel_aspect = self._source.frame_count, self._source.pixel_aspect
        self.trouble: str | None = None
        self.reconnects = 0
        self._ending = threading.Event()

    def __iter__(self) -> Iterator[VideoFrame]:
        seen, attempt = False, 0
        while not self._ending.is_set():
            try:
                if self._source is None:
                    self._source = self._open()
                for frame in self._source:
                    if self.trouble is not None:
                        self._say("is back")
                        self.trouble = None
                        self.reconnects += 1
                    seen, attempt = True, 0
                    yield frame
                return
            except EdgeSSDError:
                if self._ending.is_set():
                    return
                if not seen or (self._retries is not None and attempt >= self._retries):
                    raise
                if self.trouble is None:
                    self._say("lost; trying again until it is back")
            self._drop()
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            attempt += 1
            self.trouble = f"source lost: attempt {attempt} in {pause:g} s"
            self._ending.wait(pause)
            self.trouble = f"source lost: attempt {attempt}"

    def _say(self, text: str) -> None:
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def _drop(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def interrupt(self) -> None:
        """End a pause between two attempts."""
        self._ending.set()
        if self._source is not None:
            self._source.interrupt()

    def close(self) -> None:
        """Free the device or the connection."""
        self._ending.set()
        self._drop()
