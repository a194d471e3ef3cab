"""Boxes and labels: supervision's annotators, or edgessd's own drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from edgessd.apps.camera.counters import Shape
from edgessd.apps.camera.extras import import_extra
from edgessd.apps.camera.pipeline import Result
from edgessd.draw.detections import Rect, class_color, draw_detections, draw_label, label_height
from edgessd.draw.text import text_width
from edgessd.errors import DependencyError
from edgessd.io.images import Image

Style = Literal["own", "supervision"]


class Drawing(Protocol):
    """Draws what was found in one frame."""

    def draw(self, image: Image, result: Result, avoid: Sequence[Rect]) -> Image:
        """Draw into `image` and return it; labels stay away from the rectangles in `avoid` where they can."""


def open_drawing(style: Style | None = None) -> Drawing:
    """Return the drawing of this style; None is supervision's where it is installed and starts, else our own."""
    if style != "own":
        try:
            return SupervisionDrawing()
        except DependencyError:
            if style is not None:
                raise
    return OwnDrawing()


class OwnDrawing:
    """`edgessd.draw.detections`: no other package, and labels that make room for each other."""

    def draw(self, image: Image, result: Result, avoid: Sequence[Rect]) -> Image:
        """Draw boxes and labels into `image`."""
        found = result.detections
        return draw_detections(
            image, found.boxes, found.labels, found.scores, names_with_ids(result), copy=False, avoid=avoid
        )


class SupervisionDrawing:
    """supervision's boxes, labels and, where objects are tracked, the way they came. Raises DependencyError."""

    def __init__(self) -> None:
        self._supervision = import_extra("supervision")
        self._size: tuple[int, int] | None = None
        self._annotators: list[Any] = []

    def draw(self, image: Image, result: Result, avoid: Sequence[Rect]) -> Image:
        """Draw boxes, labels and traces into `image`."""
        sv, found = self._supervision, result.detections
        if self._size != found.image_size:
            self._size = found.image_size
            self._annotators = self._make(found.image_size, len(found.classes))
        box, label, trace = self._annotators
        objects = sv.Detections(xyxy=found.boxes, confidence=found.scores, class_id=found.labels)
        names = [
            f"{name} {score:.0%}" for name, score in zip(names_with_ids(result), found.scores.tolist(), strict=True)
        ]
        tracked = np.array([number is not None for number in result.ids], bool)
        if len(found) and tracked.any():
            followed = objects[tracked]
            followed.tracker_id = np.array([number for number in result.ids if number is not None])
            image = trace.annotate(image, followed)
        image = box.annotate(image, objects)
        drawn: Image = label.annotate(image, objects, labels=names)
        return drawn

    def _make(self, size: tuple[int, int], classes: int) -> list[Any]:
        sv = self._supervision
        colors = [sv.Color(*reversed(class_color(label))) for label in range(max(1, classes))]
        palette = sv.ColorPalette(colors)
        line = sv.calculate_optimal_line_thickness(size)
        return [
            sv.BoxAnnotator(palette, thickness=line),
            sv.LabelAnnotator(
                palette,
                text_color=sv.Color.BLACK,
                text_scale=sv.calculate_optimal_text_scale(size) * 0.8,
                text_padding=4,
                smart_position=True,
            ),
            sv.TraceAnnotator(palette, thickness=line, trace_length=30),
        ]


def names_with_ids(result: Result) -> list[str]:
    """Return the class name of each detection, with its id behind it where it has one."""
    names = result.detections.names
    if not result.ids:
        return list(names)
    return [name if number is None else f"{name} #{number}" for name, number in zip(names, result.ids, strict=True)]


def draw_shapes(image: Image, shapes: Sequence[Shape], result: Result) -> None:
    """Draw lines and zones with their counts into `image`."""
    from edgessd._cv2 import cv2

    height, width = image.shape[:2]
    font = max(11, round((width * height) ** 0.5 * 0.025))
    color = (80, 220, 255)
    for shape in shapes:
        points = np.array([(x * width, y * height) for x, y in shape.points], np.int32)
        cv2.polylines(image, [points], not shape.is_line, color, max(1, font // 8), cv2.LINE_AA)
        count = result.counts.get(shape.name, {})
        if not shape.is_line and not result.ids:
            count = {"inside": count.get("inside", 0)}
        text = f"{shape.name}: " + " ".join(f"{name} {number}" for name, number in count.items())
        x, y = points.mean(0) if shape.is_line else (points[:, 0].min(), points[:, 1].max() - label_height(font))
        left, top = min(x, width - text_width(text, font) - font), min(y, height - 3 * font)
        draw_label(image, text, int(max(0, left)), int(max(0, top)), font, color)
