"""Text on pictures: OpenCV 5's own font where there is one, Hershey strokes in OpenCV 4."""

from __future__ import annotations

import threading
import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2

Color = tuple[int, int, int]

_HAS_FONT = hasattr(cv2, "FontFace")
_WEIGHT = 550  # between regular and semibold: light text on a coloured field looks thinner than it is
_HERSHEY = cv2.FONT_HERSHEY_SIMPLEX
_HERSHEY_SIZE = 30.0  # font size at scale 1 that makes capitals as high as those of the other font
_local = threading.local()


def _font() -> Any:
    # A font caches its glyphs while it draws, so every thread has one of its own.
    if not hasattr(_local, "font"):
        _local.font = cv2.FontFace("sans")
    return _local.font


def text_width(text: str, size: int) -> int:
    """Return the width in pixels of one line of text of font size `size` (pixels; capitals are about 0.7 of it)."""
    if not text:
        return 0
    if _HAS_FONT:
        area: Any = (1 << 16, 4 * size)  # wide enough that the line is never wrapped
        return int(cv2.getTextSize(area, text, (0, 2 * size), _font(), size, _WEIGHT)[2])
    scale, thickness = _hershey(size)
    return int(cv2.getTextSize(_ascii(text), _HERSHEY, scale, thickness)[0][0])


def put_text(image: NDArray[np.uint8], text: str, x: int, baseline: int, size: int, color: Color) -> None:
    """Write one line of text into `image` (uint8 [H, W, 3]); it starts at `x` and stands on `baseline`, in pixels."""
    if not text:
        return
    if _HAS_FONT:
        cv2.putText(image, text, (x, baseline), color, _font(), size, _WEIGHT)
        return
    scale, thickness = _hershey(size)
    cv2.putText(image, _ascii(text), (x, baseline), _HERSHEY, scale, color, thickness, cv2.LINE_AA)


def _hershey(size: int) -> tuple[float, int]:
    return size / _HERSHEY_SIZE, max(1, round(size / 14))


def _ascii(text: str) -> str:
    """Hershey fonts have ASCII only: take accents off letters and put ? for the rest."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in letters)
