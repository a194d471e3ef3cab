"""The panel with the speed of things in the corner of the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgessd._cv2 import cv2
from edgessd.io.draw import Rect
from edgessd.io.images import Image
from edgessd.io.text import put_text, text_width

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
        corner = image[:bottom, :right]
        corner[:] = cv2.convertScaleAbs(corner, alpha=0.35)
        margin, font = self._margin, self._font
        put_text(image, self._title, margin, margin + round(self._heading * 0.85), self._heading, _WHITE)
        for number, (name, value) in enumerate(self._rows, 1):
            baseline = margin + self._heading + number * self._line - round(font * 0.3)
            put_text(image, name, margin, baseline, font, _GREY)
            put_text(image, value, right - margin - text_width(value, font), baseline, font, _WHITE)


def speed_panel(size: tuple[int, int], fps: float, timings: Mapping[str, float], frame: str) -> Panel:
    """Return the panel with frames per second, milliseconds of each stage, and the number of the frame."""
    rows = [(stage, f"{value:.1f} ms") for stage, value in timings.items()]
    return Panel(size, f"{fps:.1f} FPS", [*rows, ("frame", frame)])
