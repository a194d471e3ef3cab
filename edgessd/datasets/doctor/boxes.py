"""What is wrong with the boxes of one picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgessd.datasets.problems import Problem
from edgessd.datasets.records import Object, Record, Records
from edgessd.ops.boxes import iou_matrix

OVERSHOOT = 0.5
"""Pixels that a box may reach over the border before it counts: less is rounding."""

SAME, NEARLY_SAME, TWO_CLASSES = 0.999, 0.9, 0.95
"""IoU from which two boxes of a class are the same, or nearly so, and from which two classes have one box.

The last is higher: a person on a sofa often fills it.
"""

TINY_SHARE, TINY_PIXELS = 0.01, 3.0
"""A box is tiny when a side is less than this share of the picture's, or has fewer pixels at the model's input."""

ODD, ENOUGH = 6.0, 20
"""Robust standard deviations from which a size is odd, and the objects that a class needs to have a usual one."""


def box_problems(
    record: Record, size: tuple[int, int] | None, input_size: tuple[int, int], inclusive: bool
) -> Iterator[Problem]:
    """Yield the faults of one picture's boxes.

    size: (width, height) of the picture, None if it cannot be read. input_size: (width, height) of the
    model's input. inclusive: corners were written inclusively (VOC), so that a box of equal corners,
    which its author surely drew without area, is one pixel here.
    """
    for item in record.objects:
        yield from _one(record, item, size, input_size, 1.0 if inclusive else 0.0)
    yield from _doubles(record)


def _one(
    record: Record, item: Object, size: tuple[int, int] | None, input_size: tuple[int, int], added: float
) -> Iterator[Problem]:
    x1, y1, x2, y2 = item.box
    shown = f"{item.name} ({x1 + added:g}, {y1 + added:g}, {x2:g}, {y2:g})"

    def problem(kind: str, text: str) -> Problem:
        return Problem(kind, f"{shown} {text}", record.source, record.image, (item.box,))

    wide, tall = x2 - x1 - added, y2 - y1 - added
    if wide < 0 or tall < 0:
        yield problem("inverted", "has its corners swapped")
        return
    if wide == 0 or tall == 0:
        yield problem("empty", "has no area")
        return
    if size is None:
        return
    over = max(-x1, -y1, x2 - size[0], y2 - size[1])
    if over > OVERSHOOT:
        yield problem("outside", f"reaches {over:g} px outside of {size[0]}x{size[1]}")
    shares = ((x2 - x1) / size[0], (y2 - y1) / size[1])
    pixels = min(shares[0] * input_size[0], shares[1] * input_size[1])
    if not item.crowd and (min(shares) < TINY_SHARE or pixels < TINY_PIXELS):
        yield problem("tiny", f"is {x2 - x1:g} x {y2 - y1:g} px, {pixels:.1f} px at the model's input")


def _doubles(record: Record) -> Iterator[Problem]:
    objects = [item for item in record.objects if not item.crowd]
    if len(objects) < 2:
        return
    boxes = np.array([item.box for item in objects], np.float32)
    overlaps = np.triu(iou_matrix(boxes, boxes), k=1)
    for first, second in zip(*np.nonzero(overlaps >= NEARLY_SAME), strict=True):
        one, other = objects[first], objects[second]
        overlap = float(overlaps[first, second])
        if one.name != other.name and overlap < TWO_CLASSES:
            continue
        if one.name == other.name:
            text = f"{one.name} is labelled twice" + ("" if overlap >= SAME else f" (IoU {overlap:.2f})")
        else:
            text = f"one box is labelled {one.name} and {other.name} (IoU {overlap:.2f})"
        yield Problem("duplicate-box", text, record.source, record.image, (one.box, other.box))


def odd_sizes(records: Records) -> list[Problem]:
    """Find objects whose size is far from what their class has, where a class has a size at all.

    Far is ODD robust standard deviations (of the logarithm of the side) from the median, and a factor of 2.
    """
    rows = [(record, item) for record in records.records for item in record.objects if not item.crowd]
    sides = np.array([max(_area(item), 1e-9) for _, item in rows]) ** 0.5
    names = np.array([item.name for _, item in rows])
    found = []
    for name in dict.fromkeys(names.tolist()):
        mine = np.flatnonzero(names == name)
        if len(mine) < ENOUGH:
            continue
        logs = np.log(sides[mine])
        middle = float(np.median(logs))
        spread = 1.4826 * float(np.median(np.abs(logs - middle)))  # of a normal distribution
        far = np.abs(logs - middle) > max(ODD * spread, np.log(2.0))
        for place in mine[far & (sides[mine] > 2)]:  # boxes (all but) without area have a kind of their own
            record, item = rows[place]
            text = f"{name} is {sides[place]:.0f} px large, its class {np.exp(middle):.0f} px as a rule"
            found.append(Problem("odd-size", text, record.source, record.image, (item.box,)))
    return found


def _area(item: Object) -> float:
    x1, y1, x2, y2 = item.box
    return max(0.0, x2 - x1) * max(0.0, y2 - y1)


def is_double(item: Object, kept: list[Object]) -> bool:
    """Whether an object of the same class and (all but) the same box is in `kept`."""
    mine = [other.box for other in kept if other.name == item.name and other.crowd == item.crowd]
    if not mine:
        return False
    boxes = np.array(mine, np.float32)
    return bool((iou_matrix(np.array([item.box], np.float32), boxes) >= SAME).any())
