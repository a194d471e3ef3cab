"""Temporary files of runs that were killed: found by their names, removed, or kept where they are worth it."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import socket
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

from edgessd.errors import printable

WORTH_KEEPING = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".jsonl"})
"""Suffixes of what grows in a temporary file for hours: recordings, and the entries of a camera's JSON document."""

_NAME = re.compile(
    r"\.(?P<stem>.+)\.edgessd-(?P<place>[0-9a-f]{6})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}(?P<suffix>\.\w+)?",
    re.DOTALL,
)
_DAY = 86_400.0
_LEAST = 4_096  # bytes of a recording with a picture in it
_swept: set[str] = set()


def temporary_beside(target: Path) -> Path:
    """Return a fresh hidden name in the folder of `target`, with its suffix; it says whose it is.

    The first name in a folder also clears away what runs that were killed have left there, see `sweep`.
    """
    sweep(target.parent)
    me = f"{_place()}-{os.getpid()}-{_started(os.getpid()) or 0}"
    return target.with_name(f".{target.stem[:40]}.edgessd-{me}-{uuid.uuid4().hex[:8]}{target.suffix}")


def sweep(folder: Path) -> None:
    """Clear a folder of temporary files whose process is gone, once in a process.

    What is worth it (`WORTH_KEEPING`) becomes NAME.recovered.SUFFIX, which is logged as a warning; the rest is
    removed. Files of other machines and containers are left alone for a day after they were last written.
    """
    place = os.path.abspath(folder)  # noqa: PTH100
    if place in _swept:
        return
    _swept.add(place)
    with suppress(OSError), os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(".")]
        for name in names:
            match = _NAME.fullmatch(name)
            if match is not None and _is_left(Path(place, name), match):
                with suppress(OSError):
                    _clear(Path(place, name), match["stem"], match["suffix"] or "")


def _is_left(path: Path, name: re.Match[str]) -> bool:
    """Whether the process that made the file is gone."""
    if name["place"] != _place() or sys.platform == "win32":
        with suppress(OSError):
            return time.time() - path.stat().st_mtime > _DAY
        return False
    pid = int(name["pid"])
    start = _started(pid)
    if start is not None:
        return name["start"] != str(start)
    try:
        os.kill(pid, 0)  # asks only; elsewhere than on Linux, and where other users' processes are hidden
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _is_dead(pid)


def _clear(path: Path, stem: str, suffix: str) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    if suffix not in WORTH_KEEPING or not _is_usable(path, suffix):
        path.unlink()
        return
    kept = keep(path, stem, suffix)
    logging.getLogger("edgessd").warning(
        "%s: what a run that was killed has left of %s", printable(kept), printable(stem + suffix)
    )


def keep(path: Path, stem: str, suffix: str) -> Path:
    """Give a temporary file the name STEM.recovered.SUFFIX, numbered where that is taken; return it."""
    number, kept = 1, path.with_name(f"{stem}.recovered{suffix}")
    while kept.exists():
        number += 1
        kept = path.with_name(f"{stem}.recovered-{number}{suffix}")
    path.rename(kept)
    return kept


def _is_usable(path: Path, suffix: str) -> bool:
    """Whether a program can read what is there; entries lose a last one that is cut off."""
    if suffix == ".jsonl":
        cut_half_line(path)
        return path.stat().st_size > 0
    if path.stat().st_size < _LEAST:
        return False
    return suffix not in (".mp4", ".mov") or _has_index(path)


def _has_index(path: Path) -> bool:
    """Whether an MP4 holds its `moov` box, without which nobody can play it. Source: ISO/IEC 14496-12, 4.2."""
    with path.open("rb") as file:
        place, end = 0, path.stat().st_size
        while place + 8 <= end:
            file.seek(place)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if head[4:8] == b"moov":
                return place + size <= end
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
            if size < 8:
                return False
            place += size
    return False


def cut_half_line(path: Path) -> None:
    """Cut off a last line without its end, which a run that was killed has left."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65_536)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        file.truncate(end)


@functools.cache
def _place() -> str:
    """Return a mark of the machine and of the space its process numbers are of (a container has its own)."""
    space = 0
    with suppress(OSError):
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
    return hashlib.sha256(f"{socket.gethostname()}/{space}".encode()).hexdigest()[:6]


def _started(pid: int) -> int | None:
    """Return when a process began, in ticks of the machine; None where it has ended or cannot be asked (not Linux)."""
    fields = _fields(pid)
    return int(fields[19]) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None


def _is_dead(pid: int) -> bool:
    """Whether a process has ended and only its parent has not asked for it."""
    return _fields(pid)[:1] in ([b"Z"], [b"X"])


def _fields(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return []
