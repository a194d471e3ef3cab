"""Draw the photographs and screens of docs/images from the bundled photos and the bundled model.

    python scripts/pictures.py

`architecture_picture.py` draws the house; `edgessd benchmark --plot` and `benchmarks/` draw the measured curves.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import edgessd
from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.cli.app import app as edgessd_command
from edgessd.draw.priors import draw_priors
from edgessd.io.files import write_bytes_atomic
from edgessd.io.video import VideoFile
from edgessd.ops.priors import PUBLISHED

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CAMERA_FRAME = 128


def photo_with_boxes() -> bytes:
    """What the README and the first page show."""
    photo = next(path for path in zoo.photos() if path.stem == "000000000086")
    return _encoded(edgessd.detect(photo).draw(photo), ".jpg")


def camera_frame() -> bytes:
    """One frame of the camera program on its own clip, with its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        arguments = ["--source", "demo", "--no-window", "--drawing", "own", "--max-frames", str(CAMERA_FRAME + 1)]
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            edgessd_command(["camera", *arguments, "--output", str(video)])
        with VideoFile(video) as frames:
            frame = list(frames)[CAMERA_FRAME].image
    return _encoded(frame, ".jpg")


def priors() -> bytes:
    """The paper's priors: the boxes of one cell of each level."""
    return _encoded(draw_priors(PUBLISHED["ssd300-paper"][1]()), ".png")


def _encoded(picture: object, suffix: str) -> bytes:
    ok, data = cv2.imencode(suffix, picture)  # type: ignore[call-overload]
    assert ok
    return bytes(data.tobytes())


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name, draw in (("motorcycle.jpg", photo_with_boxes), ("camera.jpg", camera_frame), ("priors.png", priors)):
        write_bytes_atomic(IMAGES / name, draw())
        print(f"wrote docs/images/{name}")
