"""Turning frames upright by the display matrix of their video."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from edgessd._cv2 import cv2
from edgessd.io.video.types import Image

Matrix = tuple[int, int, int, int]
"""How a pixel at (x, y) is shown: at (a x + c y, b x + d y); every element is -1, 0 or 1."""

UPRIGHT: Matrix = (1, 0, 0, 1)


def display_matrix(data: bytes | memoryview, order: str = "=") -> Matrix:
    """Return the turn and mirroring in the 9 numbers of 32 bits of a display matrix (ISO 14496-12, `tkhd`).

    Angles between the right ones count as the nearest of them.
    """
    a, b, _, c, d = struct.unpack_from(f"{order}5i", data)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (_sign(a), 0, 0, _sign(d))
    return (0, _sign(b), _sign(c), 0)


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def turned(image: Image, matrix: Matrix) -> Image:
    """Return the picture as it is meant to be seen."""
    if matrix == UPRIGHT:
        return image
    if matrix[0] == 0:
        image = cv2.transpose(image).astype(np.uint8, copy=False)
        right, down = matrix[2] > 0, matrix[1] > 0
    else:
        right, down = matrix[0] > 0, matrix[3] > 0
    if right and down:
        return image
    return cv2.flip(image, -1 if not right and not down else 0 if right else 1).astype(np.uint8, copy=False)


def turned_size(size: Sequence[int], matrix: Matrix) -> tuple[int, int]:
    """Return (width, height) of the picture as it is meant to be seen."""
    return (size[1], size[0]) if matrix[0] == 0 else (size[0], size[1])


def turned_aspect(aspect: Fraction, matrix: Matrix) -> Fraction:
    """Return the aspect of a pixel as it is meant to be seen."""
    return 1 / aspect if matrix[0] == 0 else aspect
