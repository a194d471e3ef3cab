"""How detection depends on an object's size and shape (Hoiem et al. 2012, section 3.2; the paper's figure 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.evaluation.matching import Flat, best_object, box_area, first_claims

PERCENTILES = (10, 30, 70, 90)
"""Borders of the five bins, within each class: the extremes have 10 % each, their neighbours 20 %."""

SIZES = ("XS", "S", "M", "L", "XL")
ASPECTS = ("XT", "T", "M", "W", "XW")
FEWEST = 10
"""Objects that a class needs for five bins."""


@dataclass(frozen=True)
class Bin:
    """One bin of one class: number of objects, and the normalised average precision, 0..1, NaN without objects."""

    name: str
    objects: int
    ap: float


@dataclass(frozen=True)
class Sensitivity:
    """Normalised average precision of one class: of all its objects, and by size and by aspect ratio."""

    name: str
    objects: int
    ap: float
    sizes: tuple[Bin, ...]
    aspects: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in percent."""

        def bins(each: tuple[Bin, ...]) -> dict[str, Any]:
            return {one.name: {"objects": one.objects, "ap_n": percent(one.ap)} for one in each}

        return {
            "objects": self.objects,
            "ap_n": percent(self.ap),
            "size": bins(self.sizes),
            "aspect": bins(self.aspects),
        }


def percent(value: float) -> float | None:
    """Return a share in percent with two digits; None for NaN."""
    return None if np.isnan(value) else round(100 * value, 2)


def sensitivity(flat: Flat, classes: tuple[str, ...], iou_threshold: float = 0.5) -> list[Sensitivity]:
    """Return the sensitivity of each class with at least FEWEST objects.

    Average precision grows with the number of objects, so subsets of different size are made comparable
    by Hoiem's normalised precision: R N / (R N + F), with the recall R within the subset, the number
    of wrong detections F, and for N the mean number of objects of the classes. Detections of objects of
    the class outside the subset are left out.
    """
    overlap, which = best_object(flat)
    hit = overlap >= iou_threshold
    true = first_claims(hit, which)
    counts = flat.counts
    normal = float(counts.sum() / max(np.count_nonzero(counts), 1))
    area = box_area(flat.object_box)
    sides = np.maximum(flat.object_box[:, 2:] - flat.object_box[:, :2], 1e-6)
    aspect = sides[:, 0] / sides[:, 1]
    result = []
    for label, name in enumerate(classes):
        objects = np.flatnonzero((flat.object_label == label) & ~flat.ignored)
        if len(objects) < FEWEST:
            continue
        rows = np.flatnonzero(flat.label == label)

        def ap(chosen: NDArray[np.int64], rows: NDArray[np.int64] = rows) -> float:
            inside = np.zeros(len(flat.object_label), bool)
            inside[chosen] = True
            counted = rows[~hit[rows] | inside[which[rows]]]
            return normalised_ap(true[counted], len(chosen), normal)

        result.append(
            Sensitivity(
                name,
                len(objects),
                ap(objects),
                tuple(Bin(n, len(o), ap(o)) for n, o in zip(SIZES, _bins(objects, area), strict=True)),
                tuple(Bin(n, len(o), ap(o)) for n, o in zip(ASPECTS, _bins(objects, aspect), strict=True)),
            )
        )
    return result


def normalised_ap(true: NDArray[np.bool_], objects: int, normal: float) -> float:
    """Area under normalised precision over recall, with the envelope as in VOC. true: [D], best first."""
    if not objects:
        return float("nan")
    recall = np.cumsum(true) / objects
    scaled = recall * normal
    precision = scaled / (scaled + np.cumsum(~true))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _bins(objects: NDArray[np.int64], values: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Deal a class's objects into five bins by the percentiles of a value."""
    mine = values[objects]
    place = np.searchsorted(np.percentile(mine, PERCENTILES), mine)
    return [objects[place == number] for number in range(len(PERCENTILES) + 1)]
