"""A clip without a camera: slow pans and zooms over photos, with soft cuts between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.errors import OptionError
from edgessd.io.images import Image, load_image

FRAMES = 150
SIZE = (640, 480)
FPS = 25.0

_ZOOM = 1.2
_FADE = 8  # frames of a soft cut


def demo_clip(
    frames: int = FRAMES, size: tuple[int, int] = SIZE, photos: Sequence[str | Path] | None = None
) -> Iterator[Image]:
    """Yield `frames` pictures, uint8 [H, W, 3] BGR, of `size` (width, height); the same ones every time.

    photos: what to show, one after the other; None takes the photos that come with edgessd.
    """
    if frames < 1 or min(size) < 2:
        raise OptionError(
            f"a clip of {frames} frames of {size[0]} x {size[1]}: needs a frame and 2 x 2 pixels at least"
        )
    pictures = [_shrink(load_image(photo), size) for photo in (zoo.photos() if photos is None else photos)]
    if not pictures:
        raise OptionError("a clip needs at least one photo")
    pictures = pictures[:frames]
    bounds = [round(frames * number / len(pictures)) for number in range(len(pictures) + 1)]
    for number, picture in enumerate(pictures):
        first, last = bounds[number], bounds[number + 1]
        for index in range(first, last):
            frame = _view(picture, number, (index - first) / max(1, last - first - 1), size)
            if number > 0 and index - first < min(_FADE, last - first):
                # The end of the photo before stays still under the one that comes.
                before = _view(pictures[number - 1], number - 1, 1.0, size)
                weight = (index - first + 1) / (_FADE + 1)
                frame = cv2.addWeighted(frame, weight, before, 1 - weight, 0).astype(np.uint8, copy=False)
            yield frame.astype(np.uint8, copy=False)


def _shrink(picture: Image, size: tuple[int, int]) -> Image:
    """Scale a large photo down to what the closest view needs, without the aliasing that a warp would make."""
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height) * _ZOOM
    if scale >= 1:
        return picture
    target = (max(2, math.ceil(width * scale)), max(2, math.ceil(height * scale)))
    return cv2.resize(picture, target, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _view(picture: Image, number: int, progress: float, size: tuple[int, int]) -> Image:
    """Cut a window of the shape of `size` out of a picture and scale it; `progress` 0..1 moves and zooms it."""
    height, width = picture.shape[:2]
    eased = (1 - math.cos(math.pi * progress)) / 2
    zoom = 1 + (_ZOOM - 1) * (eased if number % 2 == 0 else 1 - eased)
    scale = max(size[0] / width, size[1] / height) * zoom
    # The window runs along the room that is left beside it, on a diagonal that differs from photo to photo.
    room_x, room_y = width * scale - size[0], height * scale - size[1]
    along_x = eased if number % 4 < 2 else 1 - eased
    along_y = 0.3 + 0.3 * (1 - eased if number % 2 == 0 else eased)
    matrix = np.array([[scale, 0, -room_x * along_x], [0, scale, -room_y * along_y]])
    view = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return view.astype(np.uint8, copy=False)
