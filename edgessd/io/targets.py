"""Names of files to be written, so that nothing that is read, or that somebody else wrote, is lost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from edgessd.errors import EdgeSSDError, OptionError, printable
from edgessd.io.local import local_path

Source = str | os.PathLike[str] | None


class FreeNames:
    """Chooses names in a folder that nothing has: `a.jpg`, then `a-2.jpg`, `a-3.jpg`.

    A name that was given is not given again, whether its file has been written yet or not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: dict[str, int] = {}

    def choose(self, stem: str, suffix: str) -> Path:
        """Return a path in the folder that is free: no file, folder or link, even one that leads nowhere."""
        key = f"{stem}{suffix}".lower()  # some file systems do not tell case apart
        number = self._last.get(key, 0)
        while True:
            number += 1
            path = self.folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
            if not os.path.lexists(path) and path.name.lower() not in self._last:
                break
        self._last[key] = number
        self._last.setdefault(path.name.lower(), 1)
        return path


def keep_sources(targets: Sequence[Path | None], sources: Iterable[Source]) -> None:
    """Raise OptionError where a file to be written is one that is read, or where two files to be written are one.

    sources: files; of a folder (a data set) every file that is there already counts as read.

    Links, other spellings of a path and file systems that do not tell case apart are seen through. Addresses are no
    files; what is not there yet cannot be lost. None stands for an option that was not given.
    """
    files = [path for path in targets if path is not None and not _is_device(path)]
    resolved = [os.path.realpath(path) for path in files]
    for path, place in zip(files, resolved, strict=True):
        if resolved.count(place) > 1:
            raise OptionError(f"{printable(path)} is named for two results: give each its own name")
    there = {_identity(path): path for path in files if path.exists()}
    for source in [each for each in sources if each] if there else ():
        hit = there.get(_identity(source)) or next((path for path in there.values() if _inside(path, source)), None)
        if hit is not None:
            raise OptionError(f"{printable(hit)} is one of the files to be read: give the result another name")


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return what says which file it is; None for one that is not there."""
    with suppress(OSError, ValueError, EdgeSSDError):
        status = Path(local_path(path) if isinstance(path, str) else path).stat()
        return status.st_dev, status.st_ino
    return None


def _inside(path: Path, source: str | os.PathLike[str]) -> bool:
    with suppress(OSError, ValueError, EdgeSSDError):
        folder = Path(local_path(source) if isinstance(source, str) else source)
        return folder.is_dir() and path.resolve().is_relative_to(folder.resolve())
    return False


def _is_device(path: Path) -> bool:
    return str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir())
