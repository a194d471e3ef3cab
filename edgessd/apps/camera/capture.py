"""Reading frames in a thread of its own, so that waiting for the camera and detecting overlap."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgessd.apps.camera.channel import Channel, Empty, Ended
from edgessd.apps.camera.frame_source import FrameSource
from edgessd.apps.camera.worker import give_way
from edgessd.io.images import Image

_AHEAD = 4  # frames of a file that are read ahead
_TICK = 0.2  # seconds between two looks at `stop`
_SILENCE = 2.0  # seconds without a frame after which a live source is reported


@dataclass(frozen=True)
class Frame:
    """One frame.

    index: its number in the source, from 0. image: uint8 [H, W, 3] BGR. capture_ms: milliseconds it took to read.
    time: seconds on the source's clock, which never goes back: since the beginning of a file; of a live source, on
    `time.perf_counter()`. Whatever lasts is measured on it. arrived: `time.perf_counter()` when it was there.
    wall: date and time of day of a live source, in seconds since 1970, for people only; None for a file.
    """

    index: int
    image: Image
    capture_ms: float
    time: float
    arrived: float
    wall: float | None = None


class Capture:
    """Context manager that reads a source in a thread; frames come from `take`, or by iterating.

    Of a live source only the newest frame is kept: one that was not taken in time is dropped and
    counted in `dropped`. Of a file every frame is delivered, and the thread waits when it is ahead.

    every: take only each N-th frame. max_fps: frames a second at most; a live source loses the others, a file
    is slowed down. Iterating ends when the source ends or `stop` is set; an error of the source is raised after
    its last good frame.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        stop: threading.Event | None = None,
        every: int = 1,
        max_fps: float | None = None,
    ) -> None:
        self.source = source
        self.every, self.max_fps = every, max_fps
        self._stop = stop if stop is not None else threading.Event()
        self._closing = threading.Event()
        self._channel: Channel[Frame] = Channel(1 if source.live else _AHEAD, newest=source.live)
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._read, name="edgessd-capture", daemon=True)

    @property
    def dropped(self) -> int:
        """How many frames of a live source nobody took in time."""
        return self._channel.dropped

    @property
    def trouble(self) -> str | None:
        """What is wrong with the source now, in a few words; None while frames come."""
        if self.source.trouble is not None:
            return self.source.trouble
        silent = time.monotonic() - self._last
        return f"no frame for {silent:.0f} s" if self.source.live and silent > _SILENCE else None

    def __enter__(self) -> Self:
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and close the source."""
        self._closing.set()
        self._channel.close()
        self.source.interrupt()
        if self._thread.is_alive():
            self._thread.join(2.0)
        # A source that hangs in its driver must not be closed under the thread's feet; the thread is a
        # daemon and goes with the process.
        if not self._thread.is_alive():
            self.source.close()
        else:
            print(f"{self.source.name}: does not answer; left to the end of the program", file=sys.stderr)

    def take(self, timeout: float | None = None) -> Frame:
        """Return the next frame. Raises Empty after `timeout` seconds, Ended or the source's error at the end."""
        return self._channel.take(timeout)

    def __iter__(self) -> Iterator[Frame]:
        while not self._stop.is_set():
            try:
                yield self.take(_TICK)
            except Empty:
                continue
            except Ended:
                return

    def _read(self) -> None:
        if not self.source.live:
            give_way()
        error: BaseException | None = None
        try:
            self._read_all()
        except BaseException as problem:  # handed to whoever takes
            error = problem
        self._channel.end(error)

    def _read_all(self) -> None:
        live, due = self.source.live, time.monotonic()
        frames = iter(self.source)
        index = -1
        while not self._closing.is_set():
            started = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            now = time.perf_counter()
            self._last = time.monotonic()
            index += 1
            if index % self.every:
                continue
            if self.max_fps is not None:
                if live and self._last < due:
                    continue
                self._closing.wait(max(0.0, due - self._last))
                # A frame that comes a little late does not make all later ones late; a long pause is not made up for.
                due = max(due, self._last - 1 / self.max_fps) + 1 / self.max_fps
            arrived = now if live else time.perf_counter()  # a file's frame is taken when it is its turn
            wall = time.time() if live else None
            if not self._channel.put(Frame(index, frame.image, (now - started) * 1e3, frame.time, arrived, wall)):
                return
