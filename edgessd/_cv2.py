"""The one place that imports OpenCV, so that a missing system library gets an answer that helps."""

from __future__ import annotations

import os
import sys

from edgessd.errors import DependencyError

# Decoders print their complaints to stderr by themselves; edgessd reports them as errors instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

MAX_PIXELS = 178_956_970
"""Largest picture that is decoded (half a gigabyte as BGR); the environment's EDGESSD_MAX_PIXELS overrides it."""

# OpenCV reads its own limit once, when it is loaded, and would take a thousand million pixels.
_wanted = os.environ.get("EDGESSD_MAX_PIXELS", "")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", _wanted if _wanted.isdecimal() else str(MAX_PIXELS))
_limit = os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]
OPENCV_PIXELS = int(_limit) if _limit.isdecimal() and "cv2" not in sys.modules else 2**30
"""Pixels beyond which OpenCV itself refuses to decode, as far as this process can say."""

try:
    import cv2
except ImportError as error:
    if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
        reason = "OpenCV is not installed: pip install opencv-python-headless (or opencv-python for windows)"
    else:
        reason = (
            f"OpenCV cannot start ({error}): install the system packages libgl1, libxcb1 and libglib2.0-0, "
            "or use the build without windows: pip uninstall opencv-python && pip install opencv-python-headless"
        )
    raise DependencyError(reason) from error

__all__ = ["MAX_PIXELS", "OPENCV_PIXELS", "cv2"]
