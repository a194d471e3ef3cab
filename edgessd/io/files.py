"""Every file that edgessd writes: a reader sees the old file or the whole new one, never half of it.

Temporary files lie beside their target (`leftovers` clears them away when their process was killed). What is written
is on the disk before it takes its place, keeps the mode of what it replaces, and otherwise has the user's usual one.
A link stays a link: its target is replaced. A device or a pipe (/dev/stdout) is written to as it is.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from edgessd.errors import InputError
from edgessd.errors import printable as printable  # told of files and folders, so found here as well
from edgessd.io.leftovers import cut_half_line, sweep
from edgessd.io.leftovers import temporary_beside as temporary_beside


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside `path` that takes its place when the block ends well.

    The temporary name has the suffix of `path`, because encoders choose their format by it. When the
    block raises, the temporary file is removed and `path` stays as it was.

        >>> with atomic_write("out/report.png") as temporary:
        ...     cv2.imwrite(str(temporary), picture)

    Raises InputError when the folder is missing, `path` is a folder, or the file cannot be written.
    """
    target = check_writable(Path(path))
    if _is_special(target):
        with writing(target):
            yield target
        return
    temporary = temporary_beside(target)
    try:
        with writing(target):
            yield temporary
        put_in_place(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


def put_in_place(temporary: Path, target: Path) -> None:
    """Let a finished file beside `target` take its place. Raises InputError when that is not possible."""
    with writing(target):
        target = followed(target)
        mode = _mode_for(temporary, target)
        _sync_file(temporary)
        if mode is not None:
            with suppress(OSError):  # a file system without modes
                temporary.chmod(mode)
        temporary.replace(target)
        _sync_folder(target.parent)


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to `path` atomically. Raises InputError when that is not possible."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with the line ends it has. Raises InputError when not possible."""
    write_bytes_atomic(path, encoded(text))


def write_part(path: Path, data: str | bytes | memoryview) -> None:
    """Write one file of a folder that is not in its place yet (`folders.new_folder`), text as UTF-8."""
    path.write_bytes(encoded(data) if isinstance(data, str) else data)


def copy_part(source: Path, path: Path) -> None:
    """Copy a file into a folder that is not in its place yet."""
    shutil.copyfile(source, path)


def open_text(temporary: Path) -> IO[str]:
    """Open a temporary file to write text: UTF-8, line ends as they are given."""
    return temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def open_spool(temporary: Path) -> IO[bytes]:
    """Open a temporary file that is written first and read afterwards."""
    return temporary.open("w+b")


def open_log(path: Path, *, append: bool) -> IO[str]:
    """Open a file that lines are added to as they come; append: behind those of earlier runs.

    A last line that a killed run has left half written is cut off. Raises InputError where it cannot be written.
    """
    target = check_writable(path)
    with writing(path):
        if append and target.is_file():
            cut_half_line(target)
        return target.open("a" if append else "w", encoding="utf-8", errors="backslashreplace", newline="")


def close_synced(file: IO[str]) -> None:
    """Close a log once its lines are on the disk."""
    with file:
        file.flush()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())


def encoded(text: str) -> bytes:
    """Return text as UTF-8; names of files may hold lone surrogates, which are written as escapes."""
    return text.encode("utf-8", errors="backslashreplace")


@contextmanager
def scratch_folder(near: Path | None = None) -> Iterator[Path]:
    """Give a temporary folder until the block ends: beside `near`, or where the system keeps such.

    Raises InputError where none can be made.
    """
    if near is not None:
        folder = temporary_beside(followed(near).with_suffix(""))
        with writing(near):
            folder.mkdir()
    else:
        try:
            folder = Path(tempfile.mkdtemp(prefix="edgessd-"))
        except OSError as error:
            raise InputError(
                f"there is no folder for temporary files ({error.strerror or error}): set TMPDIR to one that can be "
                "written to"
            ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for files to come, and those above it, where missing; clear it of what killed runs left.

    Raises InputError when that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"folder {printable(folder)} cannot be made: {reason}") from None
    sweep(folder)


def check_writable(target: Path, made: Path | None = None) -> Path:
    """Return where `target` is to be written, links followed; clear the folder of what killed runs left.

    made: a folder that the work is going to make; where `target` lies in it, it is made now.

    Raises InputError when `target` is a folder or `-`, or its folder is missing or cannot be written to.
    """
    if os.fspath(target) == "-":
        raise InputError("- is no file: give a name, or /dev/stdout for the terminal")
    with writing(target):
        place = followed(target)
        folder = place.parent
        if made is not None and folder == followed(made):
            make_folder(made)
        is_folder, has_folder = place.is_dir(), folder.is_dir()
    if _is_special(place):
        return place
    if os.path.islink(place):  # noqa: PTH114
        raise InputError(f"cannot write {printable(target)}: this link leads round in a circle")
    if place.name == "" or is_folder:
        raise InputError(f"{printable(target)} is a folder: give the name of a file in it")
    if not has_folder:
        raise InputError(f"cannot write {printable(target)}: there is no folder {printable(folder)}, make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {printable(target)}: no permission to write in {printable(folder)}")
    sweep(folder)
    return place


@contextmanager
def writing(target: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn the operating system's refusals about `target` (disk full, no permission, name too long) into InputError.

    temporary: where it is made. Other errors of the block, of a file elsewhere that it reads for example, pass.
    """
    if "\0" in str(target):
        raise InputError(f"cannot write {printable(target)}: there is a NUL in this name")
    try:
        yield
    except OSError as error:
        if not _is_about(error, target, temporary):
            raise
        raise InputError(f"cannot write {printable(target)}: {error.strerror or error}") from error


def followed(target: Path) -> Path:
    """Return `target`, or where it leads if it is a link; a link to a pipe (/dev/stdout) leads to no name."""
    if not os.path.islink(target) or _is_special(target):  # noqa: PTH114 - raises nothing
        return target
    return Path(os.path.realpath(target))


def sync_tree(folder: Path) -> None:
    """Bring a folder with all it holds to the disk."""
    for where, _, names in os.walk(folder):
        for name in names:
            _sync_file(Path(where, name))
        _sync_folder(Path(where))


def _is_about(error: OSError, target: Path, temporary: Path | None) -> bool:
    """Whether an error names no file, or one that is `target`, beside it, above it or inside it (or of `temporary`)."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return True
    there = Path(os.path.abspath(os.fsdecode(error.filename)))  # noqa: PTH100
    for place in (target, followed(target), *([temporary] if temporary is not None else [])):
        here = Path(os.path.abspath(place))  # noqa: PTH100
        if there.parent == here.parent or here in there.parents or there in here.parents:
            return True
    return False


def _is_special(target: Path) -> bool:
    """Whether something is there that is no file: a device or a pipe, which must not be replaced."""
    with suppress(OSError):
        mode = target.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _mode_for(temporary: Path, target: Path) -> int | None:
    """Return the mode that a new file needs: of what it replaces, or the usual one where it was made private."""
    own = stat.S_IMODE(temporary.stat().st_mode)
    with suppress(OSError):
        old = stat.S_IMODE(target.stat().st_mode)
        return old if old != own else None
    usual = 0o666 & ~_umask()
    return usual if own & 0o077 == 0 and own != usual else None


def _umask() -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    mask = os.umask(0o077)  # it cannot be asked without being set
    os.umask(mask)
    return mask


def _sync_file(path: Path) -> None:
    """Wait until a file is on the disk; a disk that is full may say so only here."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system knows such a thing."""
    with suppress(OSError):
        place = os.open(path, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
