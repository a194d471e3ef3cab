"""The little YAML that a data.yaml needs: text, numbers, lists and one level of nesting; no dependency."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from edgessd.datasets.pictures import read_text
from edgessd.errors import InputError

_PAIR = re.compile(r"""^(?P<key>"[^"]*"|'[^']*'|[^\s:#'"][^:#]*?)\s*:(?:\s+(?P<value>.*))?$""")


def read_yaml(path: Path) -> dict[str, object]:
    """Read `key: value` lines; a value is text, a list (`[a, b]` or `- a` lines) or a mapping (indented or `{}`).

    Raises InputError, with the line, for what it does not understand at the top level of the file.
    """
    result: dict[str, object] = {}
    key: str | None = None
    flow = ""
    for number, raw in enumerate(read_text(path).splitlines(), 1):
        line = _without_comment(raw).rstrip()
        if not line.strip() or line.strip() in ("---", "..."):
            continue
        if flow:
            flow += " " + line.strip()
        elif not line[0].isspace() and not line.startswith("-"):
            pair = _PAIR.match(line)
            if pair is None:
                raise InputError(f"{path}: line {number} is not `key: value`: {line[:60]!r}")
            key, value = _plain(pair["key"]), (pair["value"] or "").strip()
            if value[:1] in ("[", "{"):
                flow = value
            else:
                result[key] = _plain(value)
        elif key is not None:
            _nested(result, key, line.strip(), path, number)
        if flow and key is not None and flow.count("[") + flow.count("{") <= flow.count("]") + flow.count("}"):
            result[key] = _flow(flow, path, number)
            flow = ""
    return result


def _nested(result: dict[str, object], key: str, line: str, path: Path, number: int) -> None:
    """Add a line that stands below `key`: an item of a list, or a pair of a mapping."""
    if line.startswith("- ") or line == "-":
        if not isinstance(result.get(key), list):
            result[key] = []
        items = result[key]
        assert isinstance(items, list)
        items.append(_plain(line[1:].strip()))
        return
    pair = _PAIR.match(line)
    if pair is None:
        raise InputError(f"{path}: line {number} is not understood: {line[:60]!r}")
    if not isinstance(result.get(key), dict):
        result[key] = {}
    mapping = result[key]
    assert isinstance(mapping, dict)
    mapping[_plain(pair["key"])] = _plain((pair["value"] or "").strip())


def _flow(text: str, path: Path, number: int) -> object:
    """Read `[a, 'b', c]` or `{0: a, 1: b}`."""
    items = [item.strip() for item in re.findall(r"""(?:'[^']*'|"[^"]*"|[^,'"])+""", text[1:-1]) if item.strip()]
    if text.startswith("["):
        return [_plain(item) for item in items]
    pairs = [_PAIR.match(item) for item in items]
    if not all(pairs):
        raise InputError(f"{path}: line {number} is not understood: {text[:60]!r}")
    return {_plain(pair["key"]): _plain((pair["value"] or "").strip()) for pair in pairs if pair}


def _plain(text: str) -> str:
    """Take the quotes off."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        try:
            return str(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            return text[1:-1]
    return text


def _without_comment(line: str) -> str:
    """Cut a comment: a # at the start or after a space, outside quotes."""
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
