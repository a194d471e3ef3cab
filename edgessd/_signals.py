"""Ctrl-C (SIGINT), SIGTERM and SIGHUP as a wish to end, so that files are finished first.

A signal that the program was told to ignore (nohup, a job in the background) stays ignored. One more signal counts
only after a second: terminals and wrappers such as `timeout` send theirs to a program and to its group.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

WISHES = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SECOND = 1.0
_counted = [-math.inf]  # when the latest signal that counted came, whoever took it


class Stopped(KeyboardInterrupt):
    """The wish to end as an exception. signal: its number. told: whether the user has been told already."""

    def __init__(self, number: int = signal.SIGINT, *, told: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal, self.told = number, told


class Stop(threading.Event):
    """The wish to end as an event. signal: the number of the one that came; None where it was set by the program."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = threading.Condition(threading.RLock())  # a handler may come while its own thread holds the lock
        self.signal: int | None = None

    def check(self, *, told: bool = False) -> None:
        """Raise Stopped where a signal came."""
        if self.signal is not None:
            raise Stopped(self.signal, told=told)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Give an event that the first signal sets; one more, after a second, acts as it would have without us.

    Only the main thread can do that; in another one the event is never set.
    """
    stop = Stop()

    def first(number: int) -> None:
        stop.signal = stop.signal or number
        stop.set()

    restore = _handle(first, again=None)
    try:
        yield stop
    finally:
        restore()


def raise_on_signals() -> Callable[[], None]:
    """From now on let every signal raise Stopped in the main thread, so that what is open is closed.

    Return what puts the handlers of before back.
    """

    def throw(number: int) -> None:
        raise Stopped(number)

    atexit.register(_ignore_the_same_wish)
    return _handle(throw, again=throw)


def _ignore_the_same_wish() -> None:
    """Python's own end puts the default actions back, by which the second of two signals in a row would kill it."""
    if time.monotonic() - _counted[0] < SECOND:
        for number in WISHES:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_IGN)


def _handle(first: Callable[[int], None], again: Callable[[int], None] | None) -> Callable[[], None]:
    """Take the signals; return what puts their handlers back. again: None is the handler that was there before."""
    before: dict[int, Any] = {}
    came = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if time.monotonic() - _counted[0] < SECOND:
            return
        if came and again is None:
            restore()
            signal.raise_signal(number)
            return
        _counted[0] = time.monotonic()
        do = again if came and again is not None else first
        came = True
        do(number)

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        for number in WISHES:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handle)
    return restore


def stopped_by(error: BaseException | None) -> Stopped | None:
    """Return the wish to end that an exception comes from; None where it comes from something else."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__cause__ or error.__context__
    return error
