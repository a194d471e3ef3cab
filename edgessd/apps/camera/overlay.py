"""What is written on the picture: the panel with the speed of things, a line of facts, messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgessd._cv2 import cv2
from edgessd.draw.detections import Rect
from edgessd.draw.text import put_text, text_width
from edgessd.io.images import Image

_WHITE = (255, 255, 255)
_GREY = (205, 205, 205)


class Panel:
    """A dark, translucent panel for the top left corner of a picture of `size` (width, height).

    title: the large first line. rows: (name, value) of each line below it.
    rect: (x1, y1, x2, y2) of the panel in pixels; None when it has no room in the picture.
    """

    def __init__(self, size: tuple[int, int], title: str, rows: Sequence[tuple[str, str]]) -> None:
        self._title, self._rows = title, rows
        self._font = max(11, round(math.sqrt(size[0] * size[1]) * 0.021))
        self._heading = round(self._font * 1.5)
        self._line, self._margin = round(self._font * 1.35), round(self._font * 0.6)
        widths = [text_width(name, self._font) + text_width(value, self._font) + self._font for name, value in rows]
        right = max([text_width(title, self._heading), *widths]) + 2 * self._margin
        bottom = self._heading + len(rows) * self._line + 2 * self._margin
        self.rect: Rect | None = (0, 0, right, bottom) if right <= size[0] and bottom <= size[1] else None

    def draw(self, image: Image) -> None:
        """Draw the panel into `image` (uint8 [H, W, 3], changed in place)."""
        if self.rect is None:
            return
        _, _, right, bottom = self.rect
        _darken(image[:bottom, :right])
        margin, font = self._margin, self._font
        put_text(image, self._title, margin, margin + round(self._heading * 0.85), self._heading, _WHITE)
        for number, (name, value) in enumerate(self._rows, 1):
            baseline = margin + self._heading + number * self._line - round(font * 0.3)
            put_text(image, name, margin, baseline, font, _GREY)
            put_text(image, value, right - margin - text_width(value, font), baseline, font, _WHITE)


def speed_panel(
    size: tuple[int, int], fps: float, age: float, timings: Mapping[str, float], rows: Sequence[tuple[str, str]] = ()
) -> Panel:
    """Return the panel with frames per second, the frame's age, milliseconds of each stage, and more rows.

    Where that would take more than half of the picture's height, only age and speed are left.
    """
    ages = [("age", f"{age:.0f} ms")]
    stages = [(stage, f"{value:.1f} ms") for stage, value in timings.items()]
    panel = Panel(size, f"{fps:.1f} FPS", [*ages, *stages, *rows])
    if panel.rect is None or panel.rect[3] > 0.55 * size[1]:
        panel = Panel(size, f"{fps:.1f} FPS", ages)
    return panel


def draw_strip(image: Image, text: str) -> None:
    """Write one line along the lower edge of `image` (uint8 [H, W, 3], changed in place), cut to its width."""
    height, width = image.shape[:2]
    font = max(11, round(math.sqrt(width * height) * 0.021))
    tall, margin = round(font * 1.6), round(font * 0.6)
    while text and text_width(text, font) > width - 2 * margin:
        text = text[:-1]
    if not text or tall * 3 > height:
        return
    _darken(image[height - tall :])
    put_text(image, text, margin, height - round(font * 0.5), font, _WHITE)


def draw_banner(image: Image, lines: Sequence[str], color: tuple[int, int, int] = _WHITE) -> None:
    """Write lines in the middle of `image` (uint8 [H, W, 3], changed in place), on a dark field; long ones break."""
    height, width = image.shape[:2]
    font = max(12, round(math.sqrt(width * height) * 0.028))
    step, margin = round(font * 1.45), font
    broken = [part for line in lines for part in _break(line, font, width - 2 * margin)]
    broken = broken[: max(1, (height - 2 * margin) // step)]
    wide = max((text_width(line, font) for line in broken), default=0)
    tall = step * len(broken) + margin
    if not broken or wide > width or tall > height:
        return
    left, top = (width - wide) // 2, (height - tall) // 2
    _darken(image[top : top + tall, max(0, left - margin) : left + wide + margin])
    for number, line in enumerate(broken, 1):
        put_text(image, line, left, top + margin // 2 + number * step - round(font * 0.45), font, color)


def _break(line: str, font: int, room: int) -> list[str]:
    parts: list[str] = []
    for word in line.split(" "):
        if parts and text_width(f"{parts[-1]} {word}", font) <= room:
            parts[-1] = f"{parts[-1]} {word}"
        else:
            parts.append(word)
    return parts


def _darken(field: Image) -> None:
    field[:] = cv2.convertScaleAbs(field, alpha=0.35)
