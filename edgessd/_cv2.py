"""The one place that imports OpenCV, so that a missing system library gets an answer that helps."""

from __future__ import annotations

import os

from edgessd.errors import DependencyError

# Decoders print their complaints to stderr by themselves; edgessd reports them as errors instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

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

__all__ = ["cv2"]
