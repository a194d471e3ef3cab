"""Keeping the complaints of decoders off the terminal: for the command line only, which says itself what is wrong.

libjpeg and libpng write straight to file descriptor 2 ("Corrupt JPEG data: ...", "libpng warning: iCCP ..."), and no
setting turns that off; LiteRT reports there that it starts. A small process between the descriptor and the terminal
drops the lines that are known and passes everything else on at once. It lives until the last writer has gone, so that
the last words of a crash are not lost; what Python itself prints does not pass through it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

NOISE = (
    b"OpenCV: FFMPEG: tag ",  # about VP8 in WebM, which it writes
    b"Corrupt JPEG data",
    b"Premature end of JPEG",
    b"Invalid SOS parameters",
    b"Invalid component ID",
    b"Application transferred too",
    b"Unsupported marker type",
    b"Unknown Adobe color transform",
    b"Warning: unknown JFIF revision",
    b"Inconsistent progression sequence",
    b"libpng ",
    b"INFO: Created TensorFlow Lite XNNPACK delegate",
    b"WARNING: All log messages before absl::InitializeLog() is called",
    b"I0000 ",  # what follows it: a conversion to TFLite
)
_DATED = b"[20"  # Ray's lines begin with the time; the one about its own log level comes whatever that is
_OF_RAY = b"Set ray log level from environment variable"


class Filter:
    """Passes bytes on as they come, but for lines that start with one of `NOISE`.

    Only the start of a line that may still become noise waits for the rest of it.
    """

    def __init__(self, put: Callable[[bytes], object]) -> None:
        self._put = put
        self._held = b""  # the start of a line that is not decided yet
        self._passing = self._dropping = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes, at least one."""
        for piece in data.splitlines(keepends=True):
            self._piece(piece)

    def _piece(self, piece: bytes) -> None:
        line = self._held + piece
        self._held = b""
        whole = line.endswith((b"\n", b"\r"))
        if self._dropping or (not self._passing and (line.startswith(NOISE) or _is_of_ray(line))):
            self._dropping = True
        elif not (self._passing or whole) and (line.startswith(_DATED) or _may_become(line)):
            self._held = line
            return
        else:
            self._passing = True
            self._put(line)
        if whole:
            self._passing = self._dropping = False

    def end(self) -> None:
        """Pass on what waits."""
        if self._held:
            self._put(self._held)


def _may_become(line: bytes) -> bool:
    return any(noise.startswith(line) for noise in (*NOISE, _DATED))


def _is_of_ray(line: bytes) -> bool:
    return line.startswith(_DATED) and _OF_RAY in line


def drop_noise() -> None:
    """Put the filter in front of descriptor 2, for the life of this process; call it before threads are started.

    Nothing is done where there is no stderr or no fork, and in the first process of a container, whose end would end
    the filter before it has passed everything on.
    """
    if not hasattr(os, "fork") or os.getpid() == 1:
        return
    try:
        real = os.dup(2)
    except OSError:  # there is no stderr
        return
    source, sink = os.pipe()
    if os.fork() == 0:
        _pass_on(source)
    os.close(source)
    os.dup2(sink, 2)
    os.close(sink)
    # Python's own stderr stays the terminal, in the same order as before and with its colours.
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.flush()
        sys.stderr = os.fdopen(
            real, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False
        )


def _pass_on(source: int) -> None:
    """Be the filter: until every writer has closed the pipe, whatever signals the terminal sends to all."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        os.dup2(source, 0)
        os.close(1)  # whoever waits for the end of these must not wait for this process
        os.closerange(3, 4096)
        lines = Filter(_write)
        while data := os.read(0, 1 << 16):
            lines.feed(data)
        lines.end()
    finally:
        os._exit(0)


def _write(data: bytes) -> None:
    with suppress(OSError):  # the terminal has gone; the writers must not notice
        while data:
            data = data[os.write(2, data) :]
