"""What every reader returns before classes become labels, and the step that makes a `LabelledSet` of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgessd.classes.aliases import canonical
from edgessd.classes.class_map import NO_CLASSES, ClassMap
from edgessd.datasets.types import LabelledSet, Sample
from edgessd.errors import OptionError, did_you_mean


class Object(NamedTuple):
    """One object: class name, box (x1, y1, x2, y2) in pixels with x2, y2 exclusive, area in square pixels, flags."""

    name: str
    box: tuple[float, float, float, float]
    area: float
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True)
class Record:
    """One picture as its annotation has it; `size` is (width, height) in pixels, where it is stated."""

    image: Path
    image_id: int
    objects: tuple[Object, ...]
    size: tuple[int, int] | None
    source: Path


@dataclass(frozen=True)
class Records:
    """All pictures of a data set.

    classes, category_ids: as the data set declares them; None where it declares none (VOC; YOLO has no ids).
    pictures: every picture found in its folders, labelled or not. format: `voc`, `coco` or `yolo`.
    """

    records: tuple[Record, ...]
    pictures: tuple[Path, ...]
    format: str
    classes: tuple[str, ...] | None = None
    category_ids: tuple[int, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The declared classes, or those that occur, sorted."""
        if self.classes is not None:
            return self.classes
        return tuple(sorted({item.name for record in self.records for item in record.objects}))


def build(records: Records, classes: Sequence[str] | None = None) -> LabelledSet:
    """Turn class names into labels.

    classes: they limit and order the classes, and are found as `ClassMap` finds them; the set has the data's spelling
    of those that it knows. Objects of other classes are left out.

    Raises OptionError for a class given twice, under one name or two, or when none of `classes` occurs in the data.
    """
    known = records.names
    if classes is not None:
        chosen = ClassMap(classes, known)
        if known and not classes:
            raise OptionError(NO_CLASSES)
        if known and not chosen.pairs:
            near = did_you_mean(classes[0], known)
            raise OptionError(f"none of the classes {', '.join(classes)} occurs in the data{near}")
        taken = {canonical(name): name for name, _ in chosen.pairs}
        for name in chosen.only_source:
            if twin := taken.get(canonical(name)):
                raise OptionError(f"the classes {twin!r} and {name!r} are the same one in the data: give one of them")
        known = chosen.spelling
    labels = ClassMap(records.names, known)
    label_of = labels.label_of
    samples = tuple(_sample(record, label_of) for record in records.records)
    return LabelledSet(samples, known, _category_ids(records, labels))


def _category_ids(records: Records, labels: ClassMap) -> tuple[int, ...] | None:
    """The data's id of each class, a new one for classes that the data lacks; None where the data has no ids."""
    if records.category_ids is None:
        return None
    ids = dict(zip(labels.table.tolist(), records.category_ids, strict=True))
    free = max(records.category_ids, default=0) + 1
    return tuple(ids.get(label, free + label) for label in range(len(labels.target)))


def _sample(record: Record, label_of: dict[str, int]) -> Sample:
    objects = [item for item in record.objects if item.name in label_of]
    return Sample(
        image=record.image,
        image_id=record.image_id,
        boxes=np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        labels=np.array([label_of[item.name] for item in objects], np.int64),
        difficult=np.array([item.difficult for item in objects], bool),
        crowd=np.array([item.crowd for item in objects], bool),
        area=np.array([item.area for item in objects], np.float64),
        size=record.size,
        source=record.source,
    )
