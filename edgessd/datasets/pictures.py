"""Finding pictures by name, whatever their suffix, without asking the disk once for each suffix.

A name from an annotation is only ever looked up in the list of files that are really in the folder,
so it cannot lead out of the data set, whatever it holds.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from edgessd.io.formats import SUFFIXES


class PictureIndex:
    """The pictures of one folder and the folders below it (symbolic links to folders are not followed)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found: list[tuple[str, Path]] = []
        for where, _, names in os.walk(folder):
            base = os.path.relpath(where, folder).replace(os.sep, "/")
            for name in names:
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a Path for each of 100,000 names is slow
                if suffix.lower() in SUFFIXES and not name.startswith("."):
                    found.append((stem if base == "." else f"{base}/{stem}", Path(where, name)))
        found.sort(key=lambda pair: (pair[0], SUFFIXES.index(pair[1].suffix.lower())))
        self.paths = tuple(path for _, path in found)
        self._all = frozenset(self.paths)
        self._by_key: dict[str, Path] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for key, path in found:
            if key not in self._by_key:
                self._by_key[key] = path
                self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, name: str) -> Path | None:
        """Return the picture of this name; None where there is none.

        name: with or without a suffix and folders. Folders that do not fit, `..` and roots are ignored
        as long as the bare name is unambiguous.
        """
        plain = PurePosixPath(name.replace("\\", "/"))
        for key in (str(plain.with_suffix("")) if plain.suffix.lower() in SUFFIXES else str(plain), str(plain)):
            if key in self._by_key:
                exact = self._by_key[key].with_name(plain.name)
                return exact if exact in self._all else self._by_key[key]
        stem = plain.stem if plain.suffix.lower() in SUFFIXES else plain.name
        matches = self._by_stem.get(stem, [])
        return matches[0] if len(matches) == 1 else None
