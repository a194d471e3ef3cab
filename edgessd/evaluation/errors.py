"""What goes wrong, by kind: the analysis of Hoiem et al. 2012 ("Diagnosing error in object detectors"), section 3.1.

A detection is
    correct        IoU >= 0.5 with an object of its class that no surer detection claimed
    localisation   IoU 0.1 .. 0.5 with an object of its class, or a second detection of one
    similar        IoU >= 0.1 with an object of a class that is alike
    other          IoU >= 0.1 with an object of any other class
    background     nothing of these
and left out where it finds a difficult object of its class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.evaluation.matching import Flat, best_object, first_claims

ERROR_KINDS = ("correct", "localisation", "similar", "other", "background")
CORRECT, LOCALISATION, SIMILAR, OTHER, BACKGROUND, LEFT_OUT = 0, 1, 2, 3, 4, -1

STRONG, WEAK = 0.5, 0.1
"""IoU of a correct detection, and of one that at least touches its object."""

FEWEST = 10
"""Objects that a class needs to take part in a group's curves."""

MULTIPLES = 2.0 ** np.linspace(-3, 3, 25)
"""Where curves are taken: the number of detections of a class as a multiple of its number of objects."""


@dataclass(frozen=True)
class ErrorKinds:
    """The kind of every detection ([D], index into `ERROR_KINDS`, -1 left out) and whether it finds its object weakly.

    found, touched: [D] bool, first detection of an object at IoU 0.5 and at 0.1.
    """

    flat: Flat
    kind: NDArray[np.int64]
    found: NDArray[np.bool_]
    touched: NDArray[np.bool_]


@dataclass(frozen=True)
class GroupCurve:
    """Cumulative curves of a group, averaged over its classes.

    shares: [5, M] share of each kind among the first m x objects detections, for m in MULTIPLES.
    recall, weak_recall: [M]. wrong: [4, F] share of each kind of error among the first n wrong
    detections of the group, for n in wrong_counts [F].
    """

    name: str
    classes: tuple[str, ...]
    objects: int
    shares: NDArray[np.float64]
    recall: NDArray[np.float64]
    weak_recall: NDArray[np.float64]
    wrong_counts: NDArray[np.int64]
    wrong: NDArray[np.float64]


def error_kinds(flat: Flat, similar: NDArray[np.bool_]) -> ErrorKinds:
    """Tell the kind of every detection. similar: [C, C] bool, which classes are alike."""
    own, which = best_object(flat)
    hit = own >= STRONG
    ignored = flat.ignored[which] if len(flat.ignored) else np.zeros(len(which), bool)
    left_out = hit & ignored
    found = first_claims(hit & ~left_out, which)
    touched = first_claims((own >= WEAK) & ~ignored, which)
    alike, _ = best_object(flat, allowed=similar)
    different, _ = best_object(flat, allowed=~similar & ~np.eye(flat.num_classes, dtype=bool))
    kind = np.full(len(own), BACKGROUND)
    kind[different >= WEAK] = OTHER
    kind[alike >= WEAK] = SIMILAR
    kind[own >= WEAK] = LOCALISATION
    kind[found] = CORRECT
    kind[left_out] = LEFT_OUT
    return ErrorKinds(flat, kind, found, touched)


def group_curve(kinds: ErrorKinds, name: str, labels: list[int], classes: tuple[str, ...]) -> GroupCurve | None:
    """Return the curves of a group of classes; None where none of them has an object and a detection.

    Classes with fewer than FEWEST objects are left out, unless all have so few: their curves are single
    detections, and would weigh as much as those of hundreds.
    """
    counts = kinds.flat.counts
    labels = [label for label in labels if counts[label] >= FEWEST] or labels
    shares, recalls, weak = [], [], []
    for label in labels:
        rows = _rows(kinds, label)
        if not counts[label] or not len(rows):
            continue
        ends = np.clip(np.rint(MULTIPLES * counts[label]).astype(np.int64), 1, len(rows))
        table = np.stack([np.cumsum(kinds.kind[rows] == kind)[ends - 1] for kind in range(len(ERROR_KINDS))])
        shares.append(table / ends)
        recalls.append(np.cumsum(kinds.found[rows])[ends - 1] / counts[label])
        weak.append(np.cumsum(kinds.touched[rows])[ends - 1] / counts[label])
    if not shares:
        return None
    wrong_rows = np.flatnonzero(np.isin(kinds.flat.label, labels) & (kinds.kind > CORRECT))
    ends = (
        np.unique(np.geomspace(1, max(1, len(wrong_rows)), 40).astype(np.int64))
        if len(wrong_rows)
        else np.zeros(0, int)
    )
    wrong = np.stack([np.cumsum(kinds.kind[wrong_rows] == kind)[ends - 1] for kind in range(1, len(ERROR_KINDS))])
    return GroupCurve(
        name,
        tuple(classes[label] for label in labels),
        int(counts[labels].sum()),
        np.mean(shares, axis=0),
        np.mean(recalls, axis=0),
        np.mean(weak, axis=0),
        ends,
        wrong / np.maximum(ends, 1),
    )


def class_shares(kinds: ErrorKinds, label: int) -> dict[str, float] | None:
    """Return the share of each kind among the first N detections of a class with N objects; None without objects.

    Where there are fewer detections than objects, the shares are those of all of them.
    """
    count = int(kinds.flat.counts[label])
    rows = _rows(kinds, label)[:count]
    if not len(rows):
        return None
    return {name: float((kinds.kind[rows] == kind).mean()) for kind, name in enumerate(ERROR_KINDS)}


def group_dict(curve: GroupCurve) -> dict[str, Any]:
    """Return a group's curves as plain values."""
    return {
        "classes": list(curve.classes),
        "objects": curve.objects,
        "detections_per_object": np.round(MULTIPLES, 4).tolist(),
        "shares": {kind: np.round(row, 4).tolist() for kind, row in zip(ERROR_KINDS, curve.shares, strict=True)},
        "recall": np.round(curve.recall, 4).tolist(),
        "weak_recall": np.round(curve.weak_recall, 4).tolist(),
        "wrong_detections": curve.wrong_counts.tolist(),
        "wrong_shares": {
            kind: np.round(row, 4).tolist() for kind, row in zip(ERROR_KINDS[1:], curve.wrong, strict=True)
        },
    }


def _rows(kinds: ErrorKinds, label: int) -> NDArray[np.int64]:
    """Detections of a class that count, best first."""
    return np.flatnonzero((kinds.flat.label == label) & (kinds.kind != LEFT_OUT))
