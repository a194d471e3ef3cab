"""Class names from label files: one name a line, or `12  name` with the number of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgessd._text import decode
from edgessd.classes.coco import COCO_CLASSES_90
from edgessd.errors import UNPRINTABLE, OptionError, printable

SHORTCUTS = {"coco90": COCO_CLASSES_90}
MAX_BYTES = 4_000_000

_NUMBERED = re.compile(r"(\d{1,6})[\s:,]+(\S.*)")
# What other people's files have in place of a class that does not exist.
_NOTHING = ("", "???", "n/a")
_BACKGROUND = ("???", "background", "__background__")


def label_lines(text: str) -> list[str]:
    """Return the lines of a label file, without spaces around them and without the empty ones at its end."""
    lines = [line.strip() for line in text.removeprefix("\ufeff").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def class_names(labels: str | Path | Sequence[str], count: int | None = None) -> tuple[str, ...]:
    """Return one name for each label from 0: from a text file, a sequence of names, or a key of `SHORTCUTS`.

    A file has one name a line, or lines such as `17  cat`; numbers that do not occur, empty lines and `???`
    become `N/A 12` and the like. count: how many classes the model has, if known; a background in front of
    them (`background` or `???`) is dropped.

    Raises OptionError for a file that cannot be read, names that repeat or cannot be printed, and another
    number of them than `count`.
    """
    if isinstance(labels, (str, Path)):
        names = list(SHORTCUTS[str(labels)]) if str(labels) in SHORTCUTS else _from_file(Path(labels), count)
        source = printable(labels)
    else:
        names, source = [str(name) for name in labels], "labels"
    if count is not None and len(names) == count + 1 and names[0].lower() in _BACKGROUND:
        names = names[1:]
    names = [f"N/A {label}" if name.lower() in _NOTHING else name for label, name in enumerate(names)]
    if count is not None and len(names) != count:
        raise OptionError(f"{source}: {len(names)} class names for a model with {count} classes")
    if not names:
        raise OptionError(f"{source}: no class names in it")
    seen: dict[str, int] = {}
    for label, name in enumerate(names):
        if UNPRINTABLE.search(name) or len(name) > 200:
            raise OptionError(f"{source}: class name {printable(name, 40)!r} is too long, or not printable text")
        if name in seen:
            raise OptionError(f"{source}: classes {seen[name]} and {label} have the same name, {printable(name)!r}")
        seen[name] = label
    return tuple(names)


def _from_file(path: Path, count: int | None) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise OptionError(f"label file {printable(path)} has more than {MAX_BYTES:,} bytes")
        lines = label_lines(decode(data))
    except OSError as error:
        raise OptionError(f"label file {printable(path)} cannot be read: {error.strerror}") from None
    except ValueError:  # no UTF-8, or a NUL in the name
        raise OptionError(f"label file {printable(path)} is not a text file in UTF-8") from None
    numbered = [_NUMBERED.fullmatch(line) for line in lines if line]
    if not lines or not all(numbered):
        return lines
    pairs = [(int(match[1]), match[2].strip()) for match in numbered if match is not None]
    table = dict(pairs)
    if len(table) != len(pairs) or max(table) > 32_767:
        raise OptionError(f"label file {printable(path)}: numbers of classes must differ and lie below 32768")
    return [table.get(label, "") for label in range(max(max(table) + 1, count or 0))]
