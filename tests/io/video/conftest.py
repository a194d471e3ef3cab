"""Tiny videos of every kind, written by PyAV and not by edgessd, and both engines to read them."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd.io.video import pyav

TICKS = Fraction(1, 90_000)
MILLIS = Fraction(1, 1000)
QUIET = {"libx264": {"preset": "ultrafast"}, "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"}}


def colours(number: int) -> Any:
    """Red, green over blue, black; a grey field in the corner that tells the frame's number."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = (0, 0, 200), (0, 200, 0), (200, 0, 0)
    picture[-8:, -8:] = 20 + 10 * (number % 20)
    return picture


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """A function that writes frames at `stamps` (seconds): path, stamps, codec, and what else is special."""
    av = pytest.importorskip("av")

    def make(
        path: Path,
        stamps: Sequence[float],
        codec: str = "libx264",
        *,
        base: Fraction | None = TICKS,
        rate: int = 10,
        pixels: str = "yuv420p",
        aspect: Fraction | None = None,
        matrix: Sequence[int] | int | None = None,
        options: dict[str, str] | None = None,
        gop: int | None = None,
    ) -> Path:
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=rate, options=QUIET.get(codec, {}))
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            if base is not None:
                stream.codec_context.time_base = base
            if gop is not None:
                stream.codec_context.gop_size = gop
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if matrix is not None and not hasattr(stream, "set_display_matrix"):
                pytest.skip("this PyAV writes no display matrix")
            if isinstance(matrix, int):
                stream.set_display_rotation(matrix)
            elif matrix is not None:
                stream.set_display_matrix(matrix)
            for number, stamp in enumerate(stamps):
                frame = av.VideoFrame.from_ndarray(colours(number), format="bgr24")
                frame.time_base = base or Fraction(1, rate)
                frame.pts = round(stamp / frame.time_base)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(params=["pyav", "opencv"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with PyAV, and as if it were not installed."""
    name: str = request.param
    if name == "pyav":
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(pyav, "available", lambda: False)
    return name
