"""A griffe extension for the API pages: our plain docstrings as Markdown that reads well.

Three habits of the docstrings have a form of their own on the page: a parameter's line (`name: what it is`) becomes an
entry of a list, an example (`>>> ...`) a block of code, and a table of indented text stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^(>>> |\.\.\. )")
HEADING = re.compile(r"^[A-Z]\w+:( |$)")  # `Data:` above a group of parameters
# `threads: ...`, `split, val_split: ...`, at the beginning or behind a sentence
ENTRY = re.compile(r"(?:^|(?<=[.;:] ))(?P<names>[a-z]\w*(?:, [a-z]\w*)*): ")
AFTER = re.compile(r"(?<=\.) (?=(?:Returns|Raises|Yields) )")  # what follows the last entry


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it has been read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, names_of(obj))


def names_of(obj: Any) -> set[str]:
    """Return the parameters of a function, or the attributes and constructor's parameters of a class."""
    if obj.is_function:
        return {each.name for each in obj.parameters}
    if obj.is_class:
        inside = {name for name, member in obj.members.items() if member.is_attribute}
        if "__init__" in obj.members and obj.members["__init__"].is_function:
            inside |= {each.name for each in obj.members["__init__"].parameters}
        return inside
    return set()


def markdown(text: str, names: set[str]) -> str:
    """Return the docstring with lists and code blocks in place of plain lines. Text without them stays as it is."""
    return "\n\n".join(_paragraph(each, names) for each in _paragraphs(text))


def _paragraphs(text: str) -> list[list[str]]:
    """Lines between blank ones; a heading of parameters begins a paragraph of its own."""
    result: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip() or HEADING.match(line):
            result.append([])
        if line.strip():
            result[-1].append(line)
    return [lines for lines in result if lines]


def _paragraph(lines: list[str], names: set[str]) -> str:
    if EXAMPLE.match(lines[0]):
        return "\n".join(["```pycon", *lines, "```"])
    joined = " ".join(line.strip() for line in lines)
    entries = [match for match in ENTRY.finditer(joined) if set(match["names"].split(", ")) <= names]
    if not entries:
        return "\n".join(lines)
    ends = [match.start() for match in entries[1:]] + [len(joined)]
    before = joined[: entries[0].start()].strip()
    items = []
    behind = ""
    for match, end in zip(entries, ends, strict=True):
        said = joined[match.end() : end].strip()
        if end == len(joined):
            said, *rest = AFTER.split(said, maxsplit=1)
            behind = "".join(rest)
        items.append(f"- `{match['names']}`: {said}")
    return "\n\n".join(part for part in (before, "\n".join(items), behind) if part)
