"""Reading frames in a thread of its own, so that waiting for the camera and detecting overlap."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgessd.apps.camera.sources import FrameSource
from edgessd.errors import InputError
from edgessd.io.images import Image

_AHEAD = 4  # frames of a file that are read ahead
_TICK = 0.2  # seconds between two looks at `stop`


@dataclass(frozen=True)
class Frame:
    """One frame: its number in the source from 0, the picture, milliseconds it took to read, and when (seconds)."""

    index: int
    image: Image
    capture_ms: float
    time: float


class Capture:
    """Context manager and iterator over frames that a thread reads from a source.

    Of a live source only the newest frame is kept: one that was not taken in time is dropped and
    counted in `dropped`. Of a file every frame is delivered, and the thread waits when it is ahead.

    Iterating ends when the source ends or `stop` is set. An error of the source is raised after its
    last good frame; so is InputError when a live source sends nothing for `timeout` seconds.
    """

    def __init__(self, source: FrameSource, *, stop: threading.Event | None = None, timeout: float = 15.0) -> None:
        self.source = source
        self.dropped = 0
        self._stop = stop if stop is not None else threading.Event()
        self._closed = False
        self._timeout = timeout
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="edgessd-capture", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and close the source."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(2.0)
        # A source that hangs in its driver must not be closed under the thread's feet; the thread is a
        # daemon and goes with the process.
        if not self._thread.is_alive():
            self.source.close()

    def __iter__(self) -> Iterator[Frame]:
        last = time.monotonic()
        while True:
            with self._changed:
                while not self._frames and not self._ended and not self._stop.is_set():
                    self._changed.wait(_TICK)
                    if self.source.live and time.monotonic() - last > self._timeout:
                        raise InputError(
                            f"{self.source.name}: no frame for {self._timeout:g} s: check the camera or the network"
                        )
                if self._stop.is_set():
                    return
                if not self._frames:
                    if self._error is not None:
                        raise self._error
                    return
                frame = self._frames.popleft()
                self._changed.notify_all()
            yield frame
            last = time.monotonic()

    def _read(self) -> None:
        try:
            index = 0
            frames = iter(self.source)
            while not self._closed:
                started = time.perf_counter()
                image = next(frames, None)
                if image is None:
                    break
                now = time.perf_counter()
                self._put(Frame(index, image, (now - started) * 1e3, now))
                index += 1
        except BaseException as error:  # handed to whoever iterates
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self.source.live:
                self.dropped += len(self._frames)
                self._frames.clear()
            else:
                while len(self._frames) >= _AHEAD and not self._closed:
                    self._changed.wait()
            self._frames.append(frame)
            self._changed.notify_all()
