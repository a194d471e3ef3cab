"""The camera of a Raspberry Pi through picamera2, where that is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from edgessd.errors import DependencyError, InputError
from edgessd.io.video import VideoFrame

_SIZE = (640, 480)


class PicameraSource:
    """Frames of the camera with this number, uint8 [H, W, 3] BGR of `size` (width, height), 640 x 480 by default."""

    live = True
    fps = 30.0
    frame_count: int | None = None
    pixel_aspect = Fraction(1)
    trouble: str | None = None

    def __init__(self, number: int = 0, size: tuple[int, int] | None = None) -> None:
        self.name = f"picamera {number}"
        try:
            from picamera2 import Picamera2
        except ImportError:
            raise DependencyError(
                "picamera2 is not installed: apt install python3-picamera2, and make the environment with "
                "--system-site-packages"
            ) from None
        try:
            self._camera: Any = Picamera2(number)
            # What picamera2 calls RGB888 has its bytes in the order B, G, R.
            self._camera.configure(
                self._camera.create_video_configuration({"format": "RGB888", "size": size or _SIZE}, buffer_count=3)
            )
            self._camera.start()
        except (RuntimeError, IndexError, OSError) as error:
            raise InputError(
                f"{self.name} cannot be opened ({error}): check the cable and `rpicam-hello --list-cameras`, and "
                "that no other program uses it"
            ) from None

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            try:
                frame = self._camera.capture_array()
            except (RuntimeError, OSError) as error:
                raise InputError(f"{self.name}: no more frames ({error}): check the cable") from None
            yield VideoFrame(np.ascontiguousarray(frame[:, :, :3], dtype=np.uint8), time.perf_counter())

    def interrupt(self) -> None:
        """Nothing waits for long."""

    def close(self) -> None:
        """Give the camera back."""
        self._camera.stop()
        self._camera.close()
