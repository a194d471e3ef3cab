"""Groups of classes that are alike, for error analysis (Hoiem et al. 2012, section 3, and the paper's figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgessd.classes.aliases import canonical

GROUPS: dict[str, frozenset[str]] = {
    name: frozenset(map(canonical, members))
    for name, members in {
        "animals": ("bird", "cat", "cow", "dog", "horse", "sheep", "elephant", "bear", "zebra", "giraffe"),
        "vehicles": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train", "truck"),
        "furniture": ("chair", "diningtable", "sofa", "bed", "bench"),
    }.items()
}
"""VOC's groups as in the paper, with COCO's classes of the same kinds."""

# Likeness is a little wider than the groups: "all animals including person", and {aeroplane, bird}.
_ALIKE = (*GROUPS.values(), GROUPS["animals"] | {"person"}, frozenset({"aeroplane", "bird"}))


def similar(classes: Sequence[str]) -> NDArray[np.bool_]:
    """Return [C, C] bool: which classes are alike. No class is like itself here."""
    names = [canonical(name) for name in classes]
    table = np.zeros((len(names), len(names)), bool)
    for members in _ALIKE:
        inside = np.array([name in members for name in names], bool)
        table |= inside[:, None] & inside[None]
    np.fill_diagonal(table, False)
    return table


def groups(classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the labels of each group that has a class here; `all` comes first."""
    found = {"all": list(range(len(classes)))}
    for name, members in GROUPS.items():
        if labels := [label for label, each in enumerate(classes) if canonical(each) in members]:
            found[name] = labels
    return found
