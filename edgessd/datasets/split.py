"""Splits by file list and by fraction, for data sets of every format."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edgessd._text import read_lines
from edgessd.datasets.records import Record
from edgessd.errors import InputError, OptionError
from edgessd.io.formats import SUFFIXES


class NoSplitError(InputError):
    """A data set does not have the split of that name."""


_FRACTION = re.compile(r"^(?P<low>\d*\.?\d+)?(?P<colon>:)?(?P<high>\d*\.?\d+)?$")


def fraction(split: str) -> tuple[float, float] | None:
    """Return (low, high) of `0.8` (the first 80 %), `0.8:` (the rest) or `0.2:0.5`; None for a name.

    Raises OptionError for numbers outside 0..1 or an empty range.
    """
    match = _FRACTION.match(split)
    if match is None or not (match["low"] or match["high"]):
        return None
    if match["colon"]:
        low, high = float(match["low"] or 0), float(match["high"] or 1)
    else:
        if match["low"] is None or "." not in split:  # `2012` is a name
            return None
        low, high = 0.0, float(split)
    if not 0 <= low < high <= 1:
        raise OptionError(f"the split {split!r} is no part of 0..1: use 0.8 for the first 80 %, 0.8: for the rest")
    return low, high


def by_fraction(records: Sequence[Record], part: tuple[float, float], seed: int) -> list[Record]:
    """Take a part of the pictures, chosen by a hash of name and seed: the same on every machine and in every order.

    Parts that meet (`0.8` and `0.8:`) share no picture and leave none out.
    """
    ranked = sorted(range(len(records)), key=lambda row: _rank(records[row].image, seed))
    low, high = (round(edge * len(records)) for edge in part)
    return [records[row] for row in sorted(ranked[low:high])]


def by_list(records: Sequence[Record], path: Path) -> list[Record]:
    """Take the pictures that a text file names, one a line, with or without folder and suffix, in its order.

    Raises InputError for a name that the data set does not have.
    """
    by_stem = {record.image.stem: record for record in records}
    names = [line for line in read_lines(path) if not line.startswith("#")]
    missing = [name for name in names if plain_name(name) not in by_stem]
    if missing:
        raise InputError(
            f"{path} names {len(missing)} pictures that the data set does not have, such as {missing[0]!r}: "
            "check the list"
        )
    return [by_stem[stem] for stem in dict.fromkeys(map(plain_name, names))]


def plain_name(name: str) -> str:
    """Return the bare name of a picture: no folders, no picture's suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _rank(image: Path, seed: int) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}:{image.stem}".encode("utf-8", "surrogateescape")).digest(), str(image)
