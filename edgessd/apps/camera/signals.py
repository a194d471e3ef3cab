"""Ctrl-C and SIGTERM as a wish to end, so that files are finished first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that the first SIGINT or SIGTERM sets; a second one ends the program at once.

    Only the main thread can do that; in another one the event is never set.
    """
    stop = threading.Event()
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for wish in (signal.SIGINT, signal.SIGTERM):
            before[wish] = signal.signal(wish, handle)
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
