"""The folder in which the blocks of a page run: what the pages call photo.jpg, clip.mp4, pictures/, my_data/ and so on.

Everything is made here or comes with the package; nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.io.video import VideoWriter

from .blocks import ROOT

# Names of weights and model files in the pages, and what lies there in a test.
EXPORTED = {
    "mine.onnx": "onnx", "model.onnx": "onnx", "a.onnx": "onnx", "b.onnx": "onnx",
    "mine.tflite": "tflite", "model.tflite": "tflite", "a.tflite": "tflite",
}  # fmt: skip
CHECKPOINTS = ("best.safetensors", "runs/mine/best.safetensors")
DATA_SETS = ("my_data", "DIR", "bccd", "VOC2007", "VOC2012")
CLASSES = ("cat", "dog")


def environment(folder: Path) -> dict[str, str]:
    """The reader's shell: our programs first, a home of its own, one thread."""
    programs = str(Path(sys.executable).parent)
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


def furnish(folder: Path) -> None:
    """Put pictures, a clip and model files there."""
    shown = {path.stem: cv2.imread(str(path)) for path in zoo.photos()}
    small = {name: cv2.resize(picture, (320, 240)) for name, picture in shown.items()}
    cat, street = small["chelsea"], small["000000000086"]
    for name, picture in (("photo.jpg", shown["chelsea"]), ("a.jpg", cat), ("b.jpg", street), ("street.jpg", street)):
        assert cv2.imwrite(str(folder / name), picture)
    for inside in ("photos", "pictures"):
        (folder / inside).mkdir()
        for name, picture in small.items():
            assert cv2.imwrite(str(folder / inside / f"{name}.jpg"), picture)
    for name in ("clip.mp4", "street.mp4"):
        with VideoWriter(folder / name, fps=10.0, size=(320, 240)) as video:
            for _ in range(6):
                video.write(street)
    files = zoo.bundled_models()[zoo.DEFAULT_MODEL]
    for name, kind in EXPORTED.items():
        shutil.copyfile(files.with_suffix(f".{kind}"), folder / name)
    for name in DATA_SETS:
        _voc(folder / name, cat, street)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")


def checkpoints(folder: Path) -> None:
    """Put a small network with random weights wherever a page has a checkpoint. Needs torch."""
    from edgessd.models import create_model, save_checkpoint

    model, spec = create_model("ssdlite", backbone="timm:mobilenetv3_small_050", classes=CLASSES, size=160)
    first = folder / "tiny.safetensors"
    save_checkpoint(first, model, spec)
    for name in CHECKPOINTS:
        target = folder / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first, target)


def _voc(folder: Path, cat: object, street: object) -> None:
    """A Pascal VOC folder of eight pictures; the boxes lie where the cat is, and around the motorcycle's rider."""
    for inside in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / inside).mkdir(parents=True)
    names = [f"{number:02d}" for number in range(8)]
    for number, name in enumerate(names):
        picture, kind, box = (cat, "cat", (80, 20, 280, 220)) if number % 2 else (street, "dog", (60, 60, 220, 230))
        assert cv2.imwrite(str(folder / "JPEGImages" / f"{name}.jpg"), picture)
        corners = "".join(
            f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>320</width><height>240</height><depth>3</depth>"
            f"</size><object><name>{kind}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"
            "</annotation>\n"
        )
    for split in ("train", "val", "trainval", "test"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
