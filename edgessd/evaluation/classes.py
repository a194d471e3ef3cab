"""The classes of a model and those of the data: which are the same, and what has no partner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgessd.classes.class_map import ClassMap
from edgessd.datasets import LabelledSet, Sample
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
    """Say which classes model and data share, as `ClassMap` finds them (`airplane` is `aeroplane`)."""
    classes = ClassMap(truth.classes, model_classes)
    labels = [sample.labels for sample in truth.samples]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=len(truth.classes))
    missing = {
        name: int(counts[label])
        for label, name in enumerate(truth.classes)
        if classes.table[label] < 0 and (counts[label] or not classes.pairs)
    }
    return ClassMatch(classes.pairs, missing, classes.only_target)


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
            f"model and data share no class: the data has {_first_names(truth.classes)}; "
            f"the model has {_first_names(model_classes)}"
        )
    shared = ClassMap(truth.classes, [name for name, _ in match.pairs])
    samples = tuple(_limit_sample(sample, shared) for sample in truth.samples)
    ids = truth.category_ids
    if ids is not None:
        ids = tuple(ids[label] for label in np.flatnonzero(shared.table >= 0))
    return LabelledSet(samples, shared.target, ids), under_classes(detections, shared.target), match


def under_classes(detections: Sequence[Detections], classes: Sequence[str]) -> list[Detections]:
    """Return detections, of whatever models, under these classes; those of other classes are left out."""
    maps = {source: ClassMap(source, classes) for source in {found.classes for found in detections}}
    return [found.under(maps[found.classes]) for found in detections]


def _limit_sample(sample: Sample, classes: ClassMap) -> Sample:
    """A sample without the objects of classes that have no partner."""
    labels = classes.labels(sample.labels)
    keep = labels >= 0
    return replace(
        sample,
        boxes=sample.boxes[keep],
        labels=labels[keep],
        difficult=sample.difficult[keep],
        crowd=sample.crowd[keep],
        area=sample.area[keep],
    )


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
