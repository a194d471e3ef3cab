"""From what a user names (files, folders, patterns, addresses) to a list of pictures and videos."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from edgessd.errors import EdgeSSDError, InputError
from edgessd.io.address import url_scheme
from edgessd.io.files import printable
from edgessd.io.formats import SUFFIXES
from edgessd.io.local import is_pattern, local_path, matching_files

Source: TypeAlias = str | os.PathLike[str]


def expand(sources: Source | Iterable[Source], failures: list[EdgeSSDError] | None = None) -> list[str | Path]:
    """Return the pictures and videos that `sources` name, in the order given; addresses stay strings.

    A folder stands for the pictures directly in it, sorted by name; hidden files are left out. A
    pattern with `*`, `?` or `[...]` stands for the files it matches, sorted (`**` goes into
    folders; folders in front that are there by that name are no pattern). The address of a local file
    (`file:///...`) stands for its path, anything else for itself, whether it exists or not: whoever opens it says so.
    Raises InputError for a folder without pictures, a pattern that matches nothing, or no source at all.

    failures: where given, the errors of single sources are added to it instead, and the others are returned.
    """
    items = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    found: list[str | Path] = []
    for item in items:
        try:
            found.extend(_expand_one(item))
        except InputError as error:
            if failures is None:
                raise
            failures.append(error)
    if not items:
        raise InputError("no pictures are named: give a file, a folder, a pattern or an address")
    return found


def _expand_one(source: Source) -> list[str | Path]:
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a source is a path, a pattern or an address, not {type(source).__name__}")
    shown = printable(source)
    try:
        if isinstance(source, str):
            source = local_path(source)
            if url_scheme(source) is not None:
                return [source]
        path = Path(source)
        if path.is_dir():
            pictures = sorted(entry for entry in path.iterdir() if _is_picture(entry))
            if not pictures:
                raise InputError(
                    f"{shown}: no pictures in this folder ({' '.join(sorted(SUFFIXES))}): "
                    f"give another one, or a pattern such as {shown}/**/*.jpg"
                )
            return list(pictures)
        if is_pattern(str(source)):
            files = matching_files(str(source))
            if not files:
                raise InputError(f"{shown}: no file matches this pattern: check the folder and the suffix")
            return list(files)
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}") from error
    except ValueError:  # a NUL in the name; whoever opens the file says so
        pass
    return [Path(source)]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
