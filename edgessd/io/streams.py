"""Standard output and error of the command line, which may be closed, full, or of an encoding that lacks a letter.

Results must not depend on the terminal: a stream that takes no more is written to no more, and `trouble` says why.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def take_over() -> None:
    """Give the process streams that never raise; called once, before anything else."""
    for number in range(3):  # a closed one would be given to the first file that is opened
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _safe(sys.stdout, 1), _safe(sys.stderr, 2)


def trouble(stream: TextIO) -> OSError | None:
    """Return why a stream takes no more; None where it does."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.problem if isinstance(raw, _Tolerant) else None


def finish() -> str | None:
    """Flush both streams; return in words what was lost of standard output, None for nothing.

    A reader that went away (`head`, `less`) has what it wanted.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    problem = trouble(sys.stdout)
    if problem is None or problem.errno in (errno.EPIPE, errno.EIO):
        return None
    return f"cannot write to standard output: {problem.strerror}"


class _Tolerant(io.FileIO):
    """A file that takes everything; what cannot be written is dropped."""

    problem: OSError | None = None

    def write(self, data: Any) -> int:
        if self.problem is None:
            try:
                return super().write(data)
            except OSError as error:
                self.problem = error
        return len(memoryview(data).cast("B"))


def _safe(stream: TextIO | None, number: int) -> TextIO:
    """The same stream without its ways to fail; another one (of a test, of a notebook) stays as it is."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        ours = stream.fileno() == number and sys.platform != "win32"
    except (OSError, ValueError):
        ours = False
    if not ours:
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    raw = _Tolerant(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or number == 2,
        write_through=stream.write_through,
    )
