from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import LabelledSet, Sample


def make_sample(objects=(), number=1, image=None):
    """objects: (label, box) or (label, box, 'difficult' or 'crowd')."""
    boxes = np.array([item[1] for item in objects], np.float32).reshape(-1, 4)
    flags = {kind: np.array([kind in item[2:] for item in objects], bool) for kind in ("difficult", "crowd")}
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    labels = np.array([item[0] for item in objects], np.int64)
    path = image or Path(f"{number:03d}.png")
    return Sample(path, number, boxes, labels, flags["difficult"], flags["crowd"], area.astype(np.float64))


def make_found(items=(), classes=("cat", "dog", "car")):
    """items: (label, box, score)."""
    return Detections(
        np.array([item[1] for item in items], np.float32).reshape(-1, 4),
        np.array([item[2] for item in items], np.float32),
        np.array([item[0] for item in items], np.int64),
        classes,
        (100, 100),
    )


@pytest.fixture
def build():
    """Make (truth, detections) of [(objects, found), ...], one pair a picture."""

    def make(pictures, classes=("cat", "dog", "car"), model_classes=None):
        samples = tuple(make_sample(objects, number) for number, (objects, _) in enumerate(pictures, 1))
        truth = LabelledSet(samples, classes, tuple(range(1, len(classes) + 1)))
        return truth, [make_found(found, model_classes or classes) for _, found in pictures]

    return make
