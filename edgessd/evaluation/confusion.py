"""Which class is taken for which, at each class's best working point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgessd.evaluation.matching import Flat, best_object, first_claims
from edgessd.evaluation.voc import Curve

IOU = 0.5


def confusion(flat: Flat, curves: Sequence[Curve]) -> NDArray[np.int64]:
    """Return counts [C + 1, C + 1]: rows are what is there (last: nothing), columns what was said (last: nothing).

    Detections count from the score on at which their class has its best F1. Each object is given at
    most one detection, the surest of its own class before those of others; second ones of an object
    count as detections of nothing. Difficult objects and what finds them are left out.
    """
    classes = flat.num_classes
    limits = np.array([np.inf if (best := curve.best_f1()) is None else best[0] for curve in curves])
    table = np.zeros((classes + 1, classes + 1), np.int64)
    counts = flat.score >= limits[flat.label] if len(flat.label) else np.zeros(0, bool)
    ignored = flat.ignored if len(flat.ignored) else np.zeros(1, bool)
    own, which = best_object(flat)
    hit = counts & (own >= IOU)
    counts &= ~(hit & ignored[which])
    right = first_claims(hit & counts, which)
    claimed = np.zeros(len(flat.object_label) + 1, bool)
    claimed[which[right]] = True
    other, stranger = best_object(flat, same_class=False)
    mistaken = counts & ~right & (other >= IOU) & ~claimed[stranger] & ~ignored[stranger]
    mistaken = first_claims(mistaken, stranger)
    claimed[stranger[mistaken]] = True
    np.add.at(table, (flat.label[right], flat.label[right]), 1)
    np.add.at(table, (flat.object_label[stranger[mistaken]], flat.label[mistaken]), 1)
    nothing = counts & ~right & ~mistaken
    np.add.at(table, (np.full(int(nothing.sum()), classes), flat.label[nothing]), 1)
    missed = ~claimed[:-1] & ~flat.ignored
    np.add.at(table, (flat.object_label[missed], np.full(int(missed.sum()), classes)), 1)
    return table
