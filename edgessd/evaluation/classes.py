"""The classes of a model and those of the data: which are the same, and what has no partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgessd.classes.aliases import canonical
from edgessd.datasets import LabelledSet
from edgessd.errors import InputError
from edgessd.results import Detections


@dataclass(frozen=True)
class ClassMatch:
    """Pairs (name in the data, name in the model), in the data's order, and the names without a partner.

    missing: classes of the data, with objects, that the model does not have, and how many objects they
    have: they are not evaluated. unused: classes of the model that the data does not have: detections
    of them are left out.
    """

    pairs: tuple[tuple[str, str], ...]
    missing: dict[str, int]
    unused: tuple[str, ...]


def match_classes(truth: LabelledSet, model_classes: Sequence[str]) -> ClassMatch:
    """Match by name, and where that fails by alias (`airplane` is `aeroplane`); no name is used twice."""
    free = dict.fromkeys(model_classes)
    exact = {name: name for name in truth.classes if name in free}
    for name in exact:
        del free[name]
    by_alias: dict[str, str] = {}
    for name in free:
        by_alias.setdefault(canonical(name), name)
    partner = dict(exact)
    for name in truth.classes:
        if name not in exact and canonical(name) in by_alias:
            partner[name] = by_alias.pop(canonical(name))
    labels = [sample.labels for sample in truth.samples]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=len(truth.classes))
    missing = {
        name: int(counts[label])
        for label, name in enumerate(truth.classes)
        if name not in partner and (counts[label] or len(partner) == 0)
    }
    pairs = tuple((name, partner[name]) for name in truth.classes if name in partner)
    used = set(partner.values())
    return ClassMatch(pairs, missing, tuple(name for name in model_classes if name not in used))


def align(
    truth: LabelledSet, detections: Sequence[Detections], model_classes: Sequence[str]
) -> tuple[LabelledSet, list[Detections], ClassMatch]:
    """Limit truth and detections to the classes they share, under the data's names and labels.

    Raises InputError where no class is shared, or there is not one `Detections` for each sample.
    """
    if len(detections) != len(truth.samples):
        raise InputError(f"{len(detections)} detections for {len(truth.samples)} pictures: give one for each")
    match = match_classes(truth, model_classes)
    if not truth.classes:
        raise InputError("the data has no objects, so there are no classes to evaluate: choose another split")
    if not match.pairs:
        raise InputError(
            f"model and data share no class: the data has {_some(truth.classes)}; the model has {_some(model_classes)}"
        )
    names = tuple(name for name, _ in match.pairs)
    old = {name: label for label, name in enumerate(truth.classes)}
    from_truth = np.full(len(truth.classes), -1)
    from_truth[[old[name] for name in names]] = np.arange(len(names))
    samples = []
    for sample in truth.samples:
        labels = from_truth[sample.labels]
        keep = labels >= 0
        samples.append(
            replace(
                sample,
                boxes=sample.boxes[keep],
                labels=labels[keep],
                difficult=sample.difficult[keep],
                crowd=sample.crowd[keep],
                area=sample.area[keep],
            )
        )
    to_truth = {model: label for label, (_, model) in enumerate(match.pairs)}
    tables: dict[tuple[str, ...], np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
    found = []
    for one in detections:
        if one.classes not in tables:
            tables[one.classes] = np.array([to_truth.get(name, -1) for name in one.classes], np.int64)
        labels = tables[one.classes][one.labels]
        keep = labels >= 0
        found.append(Detections(one.boxes[keep], one.scores[keep], labels[keep], names, one.image_size, one.timings))
    ids = tuple(truth.category_ids[old[name]] for name in names)
    return LabelledSet(tuple(samples), names, ids), found, match


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
