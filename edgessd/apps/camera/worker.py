"""Work that may take its time, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from edgessd.apps.camera.channel import Channel, Ended

T = TypeVar("T")

_NICENESS = 10


def give_way() -> None:
    """Let other threads have the processor before this one, and before those that it starts; on Linux only.

    For work in front of and behind the detection of a file, which sets the pace: it waits for such work wherever a
    queue is full or empty, so that nothing starves, and it is not interrupted by it otherwise.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class Worker(Generic[T]):
    """Calls `handle` with each thing that is put, in order, in its own thread.

    lossy: never wait; when `size` things wait already, the oldest is thrown away and counted in `dropped`.
    Otherwise `put` waits for room, and the thread gives way to others. What `handle` raises is raised at the next
    `put`, or at `close`; nothing is handled after it.
    """

    def __init__(self, name: str, handle: Callable[[T], None], *, size: int, lossy: bool) -> None:
        self._handle = handle
        self._channel: Channel[T] = Channel(size, newest=lossy)
        self._lossy = lossy
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"edgessd-{name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many things were thrown away because there were too many."""
        return self._channel.dropped

    def put(self, item: T) -> None:
        """Hand over one thing."""
        self._channel.put(item)
        self._raise()

    def close(self, timeout: float = 60.0) -> None:
        """Wait at most `timeout` seconds until everything is handled, then end."""
        self._channel.end()
        self._thread.join(timeout)
        self._channel.close()
        self._thread.join(1.0)
        self._raise()

    def _work(self) -> None:
        if not self._lossy:
            give_way()
        try:
            while True:
                self._handle(self._channel.take())
        except Ended:
            pass
        except BaseException as error:  # handed to whoever puts
            self._error = error
            self._channel.close()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
