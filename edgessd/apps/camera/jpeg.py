"""JPEG bytes of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.files import write_bytes_atomic
from edgessd.io.images import Image

QUALITY = 85


def encode_jpeg(picture: Image, quality: int = QUALITY) -> bytes:
    """Return the picture, uint8 [H, W, 3] BGR, as JPEG of `quality` 0..100."""
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise InputError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be written as JPEG")
    return data.tobytes()


def decode_jpeg(data: bytes) -> Image:
    """Return the picture of bytes that `encode_jpeg` made, uint8 [H, W, 3] BGR."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8, copy=False)


def write_jpeg(path: Path, picture: Image) -> None:
    """Write the picture to a file, atomically. Raises InputError when it cannot be written."""
    write_bytes_atomic(path, encode_jpeg(picture, 92))
