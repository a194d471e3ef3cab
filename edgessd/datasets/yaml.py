"""data.yaml, by PyYAML: texts stay texts, and what makes a small file large in memory is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from edgessd._text import read_text
from edgessd.errors import InputError, printable

LARGEST = 1 << 18
"""Bytes. A thousand names of classes are 30 kB."""


class _Reader(yaml.BaseLoader):
    """Every value is text: a class may be called `no`, `007` or `null`. No aliases, and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not taken here", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key.value, str) else False:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands here twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, object]:
    """Return the mapping that a file holds; its values are text, lists and mappings.

    Raises InputError, with the line, for what is no YAML, is no mapping, is larger than `LARGEST`, or nested too deep.
    """
    text = read_text(path)
    if len(text) > LARGEST:
        raise InputError(f"{printable(path)}: larger than {LARGEST >> 10} kB: this is no data.yaml")
    try:
        found = yaml.load(text, _Reader)  # a BaseLoader, which makes no objects
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f"line {mark.line + 1}: "
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        raise InputError(f"{printable(path)}: {line}{printable(reason)}") from None
    except RecursionError:
        raise InputError(f"{printable(path)}: nested too deep: this is no data.yaml") from None
    if found in (None, ""):
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{printable(path)}: it must hold `key: value` lines")
    return {str(key): value for key, value in found.items()}
