"""Every message that docs/troubleshooting.md quotes is one that the source still says."""

import ast
import functools
import re

import pytest

from .blocks import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
# A message stands in a heading of its own; an ellipsis stands for what differs from case to case.
HEADING = re.compile(r"^#### `(.+)`$", re.MULTILINE)


def plain(node):
    """A string of the source as a message shows it, with an ellipsis for every value; None for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        text = "".join(plain(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub("…+", "…", text)
    return None


def strings_of(text):
    """All strings in Python source, in the pieces that the source has."""
    return [found for node in ast.walk(ast.parse(text)) if (found := plain(node)) is not None]


@functools.cache
def source():
    files = sorted((ROOT / "edgessd").rglob("*.py"))
    return "\n".join(text for file in files for text in strings_of(file.read_text(encoding="utf-8")))


def test_pieces_of_a_message_are_joined_and_values_become_ellipses():
    text = 'raise InputError(f"{name}: no such file: " f"check {path!r} (now" " here)")'
    assert "…: no such file: check … (now here)" in strings_of(text)


@pytest.mark.parametrize("message", HEADING.findall(PAGE.read_text(encoding="utf-8")) or ["no messages"])
def test_a_quoted_message_is_in_the_source(message):
    # A message may go on behind what is quoted, and another message may stand where the source has a value.
    assert message.strip("… ") in source(), message


def test_no_message_is_quoted_twice():
    messages = HEADING.findall(PAGE.read_text(encoding="utf-8"))
    assert len(messages) == len(set(messages)) > 50
