"""A labelled picture, and a set of them; no torch, so that evaluation and training share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture; G objects.

    boxes: [G, 4] float32 xyxy in pixels, x2 and y2 exclusive, exactly as the annotation has them: they
        may be empty, inverted or outside. labels: [G] index into the set's classes.
    difficult: [G] VOC's flag; crowd: [G] COCO's. area: [G] in square pixels, of COCO's segments where given.
    size: (width, height) in pixels that the annotation states, None where it does not.
    source: the annotation's file, None where there is none.
    """

    image: Path
    image_id: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]
    size: tuple[int, int] | None = None
    source: Path | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labelled pictures and their classes.

    category_ids: the classes' ids in COCO's annotation files; None where the data has none (VOC, YOLO).
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: Sequence[int]) -> LabelledSet:
        """Return the set of these samples, in this order, with the same classes."""
        return LabelledSet(tuple(self.samples[row] for row in rows), self.classes, self.category_ids)
