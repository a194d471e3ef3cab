"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a column for each key, in the order in which the keys come up; what a row lacks is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (str(row.get(key, "")).replace("|", "\\|") for key in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
