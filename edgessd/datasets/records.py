"""What every reader returns before classes become labels, and the step that makes a `LabelledSet` of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

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

    classes, category_ids: as the data set declares them; None where it declares none (VOC).
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
    """Turn class names into labels. `classes` limits and orders the classes; objects of others are left out.

    Raises OptionError for a class given twice, or when none of `classes` occurs in the data.
    """
    known = tuple(classes) if classes is not None else records.names
    if len(set(known)) != len(known):
        raise OptionError("a class is named twice: give each class once")
    if classes is not None and records.names and not set(known) & set(records.names):
        near = did_you_mean(known[0], records.names) if known else ""
        raise OptionError(f"none of the classes {', '.join(known)} occurs in the data{near}")
    index = {name: label for label, name in enumerate(known)}
    if records.classes is not None and records.category_ids is not None:
        ids = dict(zip(records.classes, records.category_ids, strict=True))
        free = max(ids.values(), default=0) + 1
        category_ids = tuple(ids.get(name, free + label) for label, name in enumerate(known))
    else:
        category_ids = tuple(range(1, len(known) + 1))
    return LabelledSet(tuple(_sample(record, index) for record in records.records), known, category_ids)


def _sample(record: Record, index: dict[str, int]) -> Sample:
    objects = [item for item in record.objects if item.name in index]
    return Sample(
        image=record.image,
        image_id=record.image_id,
        boxes=np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        labels=np.array([index[item.name] for item in objects], np.int64),
        difficult=np.array([item.difficult for item in objects], bool),
        crowd=np.array([item.crowd for item in objects], bool),
        area=np.array([item.area for item in objects], np.float64),
        size=record.size,
        source=record.source,
    )
