"""Class names that are unknown, or look like another name misspelt."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

RATIO = 0.8
"""Likeness (difflib) from which two names may be one misspelt; only when one of them is rare."""

RARE = 0.05
"""Share of the commoner name's objects below which a like name is suspicious."""


def misspelt(counts: Counter[str], expected: Sequence[str] | None = None) -> dict[str, str]:
    """Return {name: what it may have been meant for} of the suspicious names; '' where nothing is near.

    counts: objects of each name. expected: the names that should occur, if they are known.
    """
    suspects: dict[str, str] = {}
    ranked = [name for name, _ in counts.most_common()]
    for place, name in enumerate(ranked):
        if expected is not None and name in expected:
            continue
        others = ranked[:place] if expected is None else list(expected)
        twin = next((other for other in others if _forms(other) & _forms(name)), None)
        if twin is None:
            rare = [other for other in others if expected is not None or counts[name] < RARE * counts[other]]
            near = difflib.get_close_matches(name.lower(), [other.lower() for other in rare], n=1, cutoff=RATIO)
            twin = next((other for other in rare if near and other.lower() == near[0]), None)
        if twin is not None or expected is not None:
            suspects[name] = twin or ""
    return suspects


def _forms(name: str) -> frozenset[str]:
    """Return a name without case and separators, and what it may be the plural of."""
    text = re.sub(r"[\s_\-]+", "", name.casefold())
    forms = {text}
    if len(text) > 3 and text.endswith("s") and not text.endswith("ss"):
        forms.add(text[:-1])
        if text.endswith("es"):
            forms.add(text[:-2])
        if text.endswith("ies"):
            forms.add(text[:-3] + "y")
    return frozenset(forms)
