"""Boxes and labels on a picture."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.draw.text import Color, put_text, text_width

Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, the last two exclusive


def draw_detections(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    names: Sequence[str],
    *,
    copy: bool = True,
    avoid: Sequence[Rect] = (),
) -> NDArray[np.uint8]:
    """Draw detections on a picture and return it.

    image: uint8 [H, W, 3], BGR. boxes: [N, 4], x1 y1 x2 y2 in pixels. labels: [N], they choose the
    colours. scores: [N], 0..1. names: N names, one a detection.
    avoid: parts of the picture (x1, y1, x2, y2 in pixels) that labels should stay away from.
    copy: draw on a copy; False draws on `image` itself, which must then be writable and contiguous.

    Lines and letters grow with the picture. Where objects crowd so much that more than a third of a
    label would lie on labels of surer detections, the box stands without it. Parts outside the
    picture are cut off; boxes that are not finite or lie outside are left out.
    """
    canvas = image.copy() if copy else image
    height, width = canvas.shape[:2]
    side = math.sqrt(height * width)
    line = max(1, round(side * 0.0038))
    size = max(11, round(side * 0.025))
    rects: dict[int, Rect] = {}
    for index, box in enumerate(np.asarray(boxes, dtype=np.float64).reshape(-1, 4)):
        rect = _pixels(box, width, height)
        if rect is not None:
            rects[index] = rect
    # Large boxes first, so that small ones stay visible on top of them.
    for index in sorted(rects, key=lambda i: -_area(rects[i])):
        _draw_box(canvas, rects[index], class_color(int(labels[index])), line)
    # The surest detections choose the place of their label first.
    taken: list[Rect] = list(avoid)
    for index in sorted(rects, key=lambda i: -float(scores[i])):
        rect = rects[index]
        font = _font_size(rect, size)
        text = _fit(f"{names[index]} {float(scores[index]):.0%}", font, width)
        tall = label_height(font)
        if not text or tall > height:
            continue
        wide = text_width(text, font) + 2 * _padding(font)
        place = _place(rect, (wide, tall), (width, height), line, taken)
        if sum(_overlap(place, other) for other in taken) > wide * tall / 3:
            continue
        taken.append(place)
        draw_label(canvas, text, place[0], place[1], font, class_color(int(labels[index])))
    return canvas


@lru_cache(maxsize=4096)
def class_color(label: int) -> Color:
    """Return the colour (B, G, R) of a class: always the same, and far from those of its neighbours."""
    # Steps of the golden ratio never come close to an earlier hue soon; brightness alternates besides.
    hue = (0.58 + label * 0.618033988749895) % 1.0
    saturation, value = ((0.85, 1.0), (0.62, 0.98), (0.95, 0.80))[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_color(background: Color) -> Color:
    """Return near-black or white, whichever is easier to read on `background` (B, G, R)."""
    # Relative luminance as in WCAG 2; at 0.18 black and white have the same contrast, and white looks
    # better for some way above that.
    linear = [(c / 255) ** 2.2 for c in background]
    luminance = 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
    return (20, 20, 20) if luminance > 0.28 else (255, 255, 255)


def label_height(size: int) -> int:
    """Return the height in pixels of a label's field for a font size."""
    return round(size * 1.35)


def draw_label(canvas: NDArray[np.uint8], text: str, x: int, y: int, size: int, color: Color) -> None:
    """Write `text` on a field of `color` whose top left corner is (x, y)."""
    right = x + text_width(text, size) + 2 * _padding(size)
    cv2.rectangle(canvas, (x, y), (right - 1, y + label_height(size) - 1), color, cv2.FILLED)
    put_text(canvas, text, x + _padding(size), y + round(size * 1.02), size, text_color(color))


def _padding(size: int) -> int:
    return max(2, round(size * 0.3))


def _font_size(rect: Rect, size: int) -> int:
    """Make the letters of small boxes smaller, down to 3/4, so that labels hide less where objects crowd."""
    shortest = min(rect[2] - rect[0], rect[3] - rect[1])
    return max(10, min(size, max(round(size * 0.75), round(shortest * 0.3))))


def _pixels(box: NDArray[np.float64], width: int, height: int) -> Rect | None:
    """Cut a box to the picture and round it; None when nothing of it is left."""
    if not np.isfinite(box).all():
        return None
    x1, y1, x2, y2 = (float(value) for value in box)
    if x2 < x1 or y2 < y1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return None
    left, top = math.floor(max(x1, 0.0)), math.floor(max(y1, 0.0))
    return left, top, max(math.ceil(min(x2, width)), left + 1), max(math.ceil(min(y2, height)), top + 1)


def _area(rect: Rect) -> int:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


def _draw_box(canvas: NDArray[np.uint8], rect: Rect, color: Color, line: int) -> None:
    """Draw a frame of thickness `line` inside `rect`, with a thin dark rim that lifts it off a bright background."""
    dark = (color[0] * 2 // 5, color[1] * 2 // 5, color[2] * 2 // 5)
    rim = max(1, line // 4)
    _frame(canvas, rect, rim, dark, outwards=True)
    _frame(canvas, rect, line, color, outwards=False)
    inner = (rect[0] + line, rect[1] + line, rect[2] - line, rect[3] - line)
    if min(inner[2] - inner[0], inner[3] - inner[1]) > 6 * rim:
        _frame(canvas, inner, rim, dark, outwards=False)


def _frame(canvas: NDArray[np.uint8], rect: Rect, line: int, color: Color, *, outwards: bool) -> None:
    """Fill the four sides of a frame along `rect` by slices: exact to the pixel, whatever the OpenCV."""
    x1, y1, x2, y2 = rect
    if outwards:
        x1, y1, x2, y2 = x1 - line, y1 - line, x2 + line, y2 + line
    for left, top, right, bottom in (
        (x1, y1, x2, min(y1 + line, y2)),
        (x1, max(y2 - line, y1), x2, y2),
        (x1, y1, min(x1 + line, x2), y2),
        (max(x2 - line, x1), y1, x2, y2),
    ):
        canvas[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = color


def _fit(text: str, size: int, width: int) -> str:
    """Shorten the name in front of the score until the label is no wider than the picture; '' if it never is."""
    room = width - 2 * _padding(size)
    name, _, score = text.rpartition(" ")
    while text_width(text, size) > room:
        if not name:
            return "" if text_width(score, size) > room else score
        name = name[:-1].rstrip(" .")
        text = f"{name}.. {score}" if name else score
    return text


def _place(rect: Rect, label: tuple[int, int], picture: tuple[int, int], line: int, taken: Sequence[Rect]) -> Rect:
    """Find the place of a label (width, height) at its box that covers other labels least; above is preferred."""
    (wide, tall), (width, height) = label, picture
    x1, y1, x2, y2 = rect
    corners = (
        (x1, y1 - tall),
        (x1, y1),
        (x2 - wide, y1 - tall),
        (x1, y2),
        (x2 - wide, y2 - tall),
        (x2, y1),
        (x1 - wide, y1),
        (x2 - wide, y1),
        (x1, (y1 + y2 - tall) // 2),
    )
    best, lowest = rect, math.inf
    for preference, (x, y) in enumerate(corners):
        left, top = min(max(x, 0), width - wide), min(max(y, 0), height - tall)
        place = (left, top, left + wide, top + tall)
        covered = sum(_overlap(place, other) for other in taken)
        moved = abs(left - x) + abs(top - y)
        cost = covered * 4.0 + moved * tall + preference * line
        if cost < lowest:
            best, lowest = place, cost
    return best


def _overlap(a: Rect, b: Rect) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
