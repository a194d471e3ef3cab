"""Keeping the decoders' own complaints off the terminal.

libjpeg and libpng write straight to file descriptor 2 ("Corrupt JPEG data: ...", "libpng error:
..."), and so does OpenCV 4 when a decoder fails; no setting turns that off. edgessd reports
failures as errors, so while a picture is decoded descriptor 2 goes to a temporary file, from which
everything that did not come from a decoder is written to the real one afterwards.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_DECODERS = (
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
    b"imdecode_",
    b"OpenCV(",
    b"OpenCV: FFMPEG: tag",
    b"INFO: Created TensorFlow Lite XNNPACK delegate",  # not a decoder's, and no complaint either
)

_lock = threading.Lock()
_users = 0
_saved = -1
_sink: IO[bytes] | None = None


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep what decoders print inside the block off stderr; several threads may be in it at once."""
    global _users
    with _lock:
        if _users == 0:
            _redirect()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _restore()


def _redirect() -> None:
    global _saved, _sink
    try:
        _saved = os.dup(2)
    except OSError:  # there is no stderr
        _saved = -1
        return
    try:
        _sink = tempfile.TemporaryFile()  # noqa: SIM115 (closed in _restore)
        os.dup2(_sink.fileno(), 2)
    except OSError:  # no place for a temporary file: rather noise than no picture
        os.dup2(_saved, 2)
        os.close(_saved)
        _saved = -1


def _restore() -> None:
    global _saved, _sink
    if _saved < 0 or _sink is None:
        return
    os.dup2(_saved, 2)
    os.close(_saved)
    _sink.seek(0)
    text = _sink.read()
    _sink.close()
    _saved, _sink = -1, None
    others = [line for line in text.splitlines(keepends=True) if line.strip() and not line.startswith(_DECODERS)]
    if others:
        os.write(2, b"".join(others))
