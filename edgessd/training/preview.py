"""A sheet of augmented samples with their boxes: what the network is going to see."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.datasets import LabelledSet
from edgessd.draw.detections import draw_detections
from edgessd.errors import InputError
from edgessd.io.images import load_image
from edgessd.spec import InputSpec, ModelSpec
from edgessd.training.augment import PRESETS, Augmentation, augment

PANEL = 300
GAP = 6


def draw_augmented(
    dataset: LabelledSet,
    spec: ModelSpec | InputSpec,
    count: int = 16,
    seed: int = 0,
    options: Augmentation | None = None,
) -> NDArray[np.uint8]:
    """Return a sheet [H, W, 3] BGR with `count` samples as training would make them.

    spec: of the model, or its input. options: default the paper's. Pictures that cannot be read are left out;
    raises InputError where none can.
    """
    tensor = spec.input if isinstance(spec, ModelSpec) else spec
    rng = np.random.default_rng(seed)
    # Each picture once before any comes twice.
    order = [int(row) for _ in range(-(-count // max(1, len(dataset)))) for row in rng.permutation(len(dataset))]
    panels: list[NDArray[np.uint8]] = []
    for number, row in enumerate(order):
        if len(panels) == count:
            break
        sample = dataset.samples[row]
        try:
            image = load_image(sample.image)
        except InputError:
            continue
        generator = np.random.default_rng([seed, number, row])
        picture, boxes, kept = augment(image, sample.boxes, tensor, options or PRESETS["paper"], generator)
        panels.append(_panel(picture, boxes, sample.labels[kept], dataset.classes))
    if not panels:
        raise InputError("no picture of the data set can be read: see `edgessd doctor`")
    return _sheet(panels)


def _panel(
    picture: NDArray[np.uint8], boxes: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = PANEL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = np.full((PANEL, PANEL, 3), 255, np.uint8)
    small = np.asarray(cv2.resize(picture, size), np.uint8)
    pixels = boxes * np.tile(np.array(size, np.float32), 2)
    names = [classes[label] for label in labels]
    drawn = draw_detections(small, pixels, labels, np.ones(len(boxes), np.float32), names)
    shown[: size[1], : size[0]] = drawn
    return shown


def _sheet(panels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    columns = math.ceil(math.sqrt(len(panels)))
    rows = -(-len(panels) // columns)
    step = PANEL + GAP
    sheet = np.full((rows * step + GAP, columns * step + GAP, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        top, left = (GAP + step * (number // columns), GAP + step * (number % columns))
        sheet[top : top + PANEL, left : left + PANEL] = panel
    return sheet
