"""Paths in the forms in which people name them: as an address of a local file, and as a pattern."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from urllib.parse import unquote

from edgessd.errors import InputError, printable

_FILE = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


def local_path(source: str) -> str:
    """Return the path that a file address such as `file:///home/me/a%20b.jpg` names; anything else as it is.

    Raises InputError for the address of a file on another host, and for one without a whole path.
    """
    if not source.lower().startswith("file:") or _is_there(source):
        return source
    found = _FILE.fullmatch(source)
    if found is None:
        raise InputError(f"{printable(source)}: a file address has a whole path in it, as in file:///home/me/a.jpg")
    if (found["host"] or "").lower() not in ("", "localhost"):
        raise InputError(f"{printable(source)}: a file on another host cannot be read: copy it here and give its path")
    path = unquote(found["path"], errors="surrogateescape")
    return path[1:] if re.match(r"/[A-Za-z]:[/\\]", path) and os.name == "nt" else path


def is_pattern(source: str) -> bool:
    """Whether a path is a pattern, with `*`, `?` or `[...]` in it, rather than the name of something that is there."""
    return glob.has_magic(source) and not _is_there(source)


def matching_files(pattern: str) -> list[Path]:
    """Return the files that a pattern names, sorted; `**` goes into folders.

    The part in front that is there as it is written is no pattern: `[2024] trip/*.jpg` looks into that folder.
    """
    folder, parts = Path(), Path(pattern).parts
    while parts and os.path.lexists(folder / parts[0]):
        folder, parts = folder / parts[0], parts[1:]
    found = glob.glob(os.path.join(glob.escape(str(folder)), *parts), recursive=True)  # noqa: PTH118, PTH207
    return sorted(path for path in map(Path, found) if path.is_file())


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL in the name
        return False
