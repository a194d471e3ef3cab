"""Atomic writing: a reader sees the old file or the whole new one, never half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgessd.errors import InputError
from edgessd.errors import printable as printable  # told of files and folders, so found here as well


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside `path` that takes its place when the block ends well.

    The temporary name has the suffix of `path`, because encoders choose their format by it. When the
    block raises, the temporary file is removed and `path` stays as it was.

        >>> with atomic_write("out/report.png") as temporary:
        ...     cv2.imwrite(str(temporary), picture)

    Raises InputError when the folder is missing, `path` is a folder, or the file cannot be written.
    """
    target = Path(path)
    check_writable(target)
    temporary = temporary_beside(target)
    try:
        yield temporary
        with writing(target):
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to `path` atomically. Raises InputError when that is not possible."""
    with atomic_write(path) as temporary, writing(Path(path)):
        temporary.write_bytes(data)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with the line ends it has. Raises InputError when not possible."""
    # Names of files may hold lone surrogates; JSON and CSV about them must still be writable.
    write_bytes_atomic(path, text.encode("utf-8", errors="backslashreplace"))


def temporary_beside(target: Path) -> Path:
    """Return a fresh hidden name in the folder of `target`, with its suffix."""
    return target.with_name(f".{target.stem[:40]}.{uuid.uuid4().hex[:8]}{target.suffix}")


def check_writable(target: Path) -> None:
    """Raise InputError when `target` is a folder, or its folder is missing or cannot be written to."""
    folder = target.parent
    with writing(target):
        is_folder, has_folder = target.is_dir(), folder.is_dir()
    if target.name == "" or is_folder:
        raise InputError(f"{printable(target)} is a folder: give the name of a file in it")
    if not has_folder:
        raise InputError(f"cannot write {printable(target)}: there is no folder {printable(folder)}, make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {printable(target)}: no permission to write in {printable(folder)}")


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals (disk full, no permission, name too long) into InputError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {printable(target)}: {reason}") from error
