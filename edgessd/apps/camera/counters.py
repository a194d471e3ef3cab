"""Counting objects that cross a line or stand in a zone.

Both are given in fractions of the picture (0..1), so that they fit whatever size the camera has:
`--line door=0.1,0.5,0.9,0.5` and `--zone shelf=0.2,0.2,0.8,0.2,0.8,0.9,0.2,0.9`. An object stands where the
middle of its box's lower side is. Written here and not taken from supervision because its LineZone keeps every id
it ever saw, which a camera that runs for months cannot afford.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgessd._cv2 import cv2
from edgessd.apps.camera.pipeline import Result
from edgessd.errors import OptionError

Point = tuple[float, float]

_MARGIN = 0.005  # how far from the line, in units of the picture, an object must be to be on a side
_FORGET = 10.0  # seconds after which an id that was not seen is forgotten


@dataclass(frozen=True)
class Shape:
    """A named line (two points) or zone (three or more), in fractions of the picture."""

    name: str
    points: tuple[Point, ...]

    @property
    def is_line(self) -> bool:
        """Whether it is a line."""
        return len(self.points) == 2


def parse_line(text: str, number: int = 1) -> Shape:
    """Read `[NAME=]x1,y1,x2,y2`. Raises OptionError."""
    shape = _parse("line", text, number)
    if len(shape.points) != 2 or shape.points[0] == shape.points[1]:
        raise OptionError(f"--line {text}: a line has two different points: NAME=x1,y1,x2,y2")
    return shape


def parse_zone(text: str, number: int = 1) -> Shape:
    """Read `[NAME=]x1,y1,x2,y2,x3,y3...`. Raises OptionError."""
    shape = _parse("zone", text, number)
    if len(shape.points) < 3:
        raise OptionError(f"--zone {text}: a zone has three points or more: NAME=x1,y1,x2,y2,x3,y3")
    return shape


def _parse(kind: str, text: str, number: int) -> Shape:
    name, _, points = text.rpartition("=")
    try:
        values = [float(value) for value in re.split(r"[,\s]+", points.strip())]
    except ValueError:
        values = []
    if not values or len(values) % 2 or not all(0 <= value <= 1 for value in values):
        raise OptionError(f"--{kind} {text}: give NAME=x,y,x,y,... in fractions of the picture, 0 to 1")
    return Shape(name.strip() or f"{kind} {number}", tuple(zip(values[::2], values[1::2], strict=True)))


class Counters:
    """Fills in `Result.counts`: for a line how many went `in` and `out`, for a zone how many are `inside`.

    Looking along the line from its first point to its second, `in` is from the left side to the right one. A line
    needs ids (tracking); a zone also counts `entered` where there are ids.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = shapes
        self._counts = {
            shape.name: {"in": 0, "out": 0} if shape.is_line else {"inside": 0, "entered": 0} for shape in shapes
        }
        self._last: dict[tuple[str, int], tuple[Point, int, float]] = {}  # (shape, id): point, side, when

    def follow(self, result: Result) -> None:
        """Count the objects of one frame."""
        width, height = result.detections.image_size
        boxes = result.detections.boxes
        feet = [((x1 + x2) / 2 / width, y2 / height) for x1, _, x2, y2 in boxes.tolist()]
        ids = list(result.ids) or [None] * len(feet)
        now = result.frame.time
        for shape in self.shapes:
            count = self._counts[shape.name]
            if not shape.is_line:
                count["inside"] = 0
            for foot, number in zip(feet, ids, strict=True):
                if shape.is_line:
                    self._cross(shape, count, foot, number, now)
                else:
                    self._enter(shape, count, foot, number, now)
        for key in [key for key, (_, _, seen) in self._last.items() if now - seen >= _FORGET]:
            del self._last[key]
        result.counts = {name: dict(count) for name, count in self._counts.items()}

    def _cross(self, shape: Shape, count: dict[str, int], foot: Point, number: int | None, now: float) -> None:
        if number is None:
            return
        side = _side(shape.points, foot)
        before = self._last.get((shape.name, number))
        if side == 0:  # on the line: what counts is where it goes
            if before is not None:
                self._last[shape.name, number] = (before[0], before[1], now)
            return
        if before is not None and before[1] != side and _meet(before[0], foot, *shape.points):
            count["in" if side > 0 else "out"] += 1
        self._last[shape.name, number] = (foot, side, now)

    def _enter(self, shape: Shape, count: dict[str, int], foot: Point, number: int | None, now: float) -> None:
        inside = cv2.pointPolygonTest(np.array(shape.points, np.float32), foot, False) >= 0
        count["inside"] += inside
        if number is None:
            return
        before = self._last.get((shape.name, number))
        count["entered"] += inside and (before is None or not before[1])
        self._last[shape.name, number] = (foot, int(inside), now)


def _side(line: Sequence[Point], point: Point) -> int:
    """1 on the right of the line (y points down), -1 on the left, 0 on it."""
    (x1, y1), (x2, y2) = line
    distance = ((x2 - x1) * (point[1] - y1) - (y2 - y1) * (point[0] - x1)) / math.hypot(x2 - x1, y2 - y1)
    return 0 if abs(distance) < _MARGIN else 1 if distance > 0 else -1


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the way from a to b crosses the stretch from c to d."""

    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return turn(a, b, c) * turn(a, b, d) <= 0 and turn(c, d, a) * turn(c, d, b) <= 0
