"""One encoding of each picture for all who look."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from edgessd.apps.camera.channel import Channel, Empty, Ended
from edgessd.apps.camera.jpeg import encode_jpeg
from edgessd.io.images import Image

_ASKED = 5.0  # seconds that pictures are made for after somebody asked for a single one


class Newest:
    """The newest of a row of byte strings, for any number of readers in one event loop.

    A reader that is slow misses some, and holds nobody up.
    """

    def __init__(self) -> None:
        self._number, self._data = 0, b""
        self._changed = asyncio.Event()
        self._ended = False
        self.readers = 0

    def publish(self, data: bytes) -> None:
        """Put a new one in the place of the last; in the event loop."""
        self._number, self._data = self._number + 1, data
        self._wake()

    def end(self) -> None:
        """Let all readers come to their end; in the event loop."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, *, fresh: bool = False) -> AsyncIterator[bytes]:
        """Yield the newest whenever there is a newer one. fresh: wait for one that is made from now on."""
        seen = self._number if fresh else 0
        with self._count_reader():
            while not self._ended:
                if self._number == seen:
                    await self._changed.wait()
                    continue
                seen = self._number
                yield self._data

    @contextmanager
    def _count_reader(self) -> Iterator[None]:
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1


class Hub:
    """Takes pictures and messages from the camera's thread and hands them to the event loop of the server.

    Pictures are encoded in a thread of their own, once each, and only while somebody looks. encodings: how many.
    """

    def __init__(self) -> None:
        self.pictures, self.messages = Newest(), Newest()
        self.encodings = 0
        self._asked = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Channel[Image] = Channel(1, newest=True)
        self._thread = threading.Thread(target=self._encode, name="edgessd-jpeg", daemon=True)
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say in which event loop the readers are."""
        self._loop = loop

    @property
    def wanted(self) -> bool:
        """Whether anybody looks at pictures."""
        return self.pictures.readers > 0 or time.monotonic() - self._asked < _ASKED

    def ask(self) -> None:
        """Say that a single picture is wanted."""
        self._asked = time.monotonic()

    def show(self, picture: Image) -> None:
        """Take a picture, which nobody changes any more; never waits."""
        if self.wanted:
            self._channel.put(picture)

    def tell(self, message: bytes) -> None:
        """Take a message; never waits."""
        self._call(self.messages.publish, message)

    def _encode(self) -> None:
        while True:
            try:
                picture = self._channel.take(60.0)
            except Empty:
                continue
            except Ended:
                return
            data = encode_jpeg(picture)
            self.encodings += 1
            self._call(self.pictures.publish, data)

    def _call(self, function: object, *arguments: bytes) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
        except RuntimeError:  # the server has ended meanwhile
            self._loop = None

    def close(self) -> None:
        """End the encoder and all readers."""
        self._channel.close()
        self._thread.join(5.0)
        self._call(self.pictures.end)
        self._call(self.messages.end)
