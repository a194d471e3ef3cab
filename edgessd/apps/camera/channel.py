"""Handing things from one thread to the next, never more than a few at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Empty(Exception):  # noqa: N818 (as queue.Empty)
    """Nothing came in the time that was given."""


class Ended(Exception):  # noqa: N818 (no error, like StopIteration)
    """The sender has ended, or the receiver has closed the channel: nothing will come any more."""


class Channel(Generic[T]):
    """A queue of at most `size` things between one sender and one receiver.

    newest: `put` never waits; what was not taken in time is thrown away and counted in `dropped`.
    Otherwise `put` waits for room.
    """

    def __init__(self, size: int, *, newest: bool = False) -> None:
        self.size, self.newest = size, newest
        self.dropped = 0
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Hand one thing over; False when nobody will take it any more."""
        with self._changed:
            if self.newest:
                while len(self._items) >= self.size:
                    self._items.popleft()
                    self.dropped += 1
            else:
                self._changed.wait_for(lambda: len(self._items) < self.size or self._closed)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout: float | None = None) -> T:
        """Return the next thing. Raises Empty after `timeout` seconds, Ended or the sender's error after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._closed, timeout)
            if self._closed:
                raise Ended
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if not self._ended:
                raise Empty
            if self._error is not None:
                raise self._error
            raise Ended

    def wait_for_room(self) -> bool:
        """Wait until `put` would not have to; False when nobody will take anything any more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self.size or self._closed)
            return not self._closed

    def wait_until_taken(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until nothing is left in the channel; whether that is so."""
        deadline = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(lambda: not self._items or self._closed, deadline - time.monotonic())

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; `error` is raised at the receiver after the last thing."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Throw away what is left and let both sides go on at once."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
