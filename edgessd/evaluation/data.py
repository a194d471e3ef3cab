"""Labelled pictures for evaluation: Pascal VOC folders and COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import InputError, missing_extra

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp")


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled picture; G objects.

    boxes: [G, 4] float32 xyxy in pixels, x2 and y2 exclusive. labels: [G] index into the set's classes.
    difficult: [G] VOC's flag; crowd: [G] COCO's. area: [G] in square pixels, of COCO's segments where given.
    """

    image: Path
    image_id: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labelled pictures and their classes; category_ids are the classes' ids in the source."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]


def _sample(image: Path, image_id: int, objects: Sequence[tuple[int, bool, bool, float, list[float]]]) -> Sample:
    return Sample(
        image=image,
        image_id=image_id,
        boxes=np.array([item[4] for item in objects], np.float32).reshape(-1, 4),
        labels=np.array([item[0] for item in objects], np.int64),
        difficult=np.array([item[1] for item in objects], bool),
        crowd=np.array([item[2] for item in objects], bool),
        area=np.array([item[3] for item in objects], np.float64),
    )


def load_voc(folder: str | Path, split: str, classes: Sequence[str] | None = None) -> LabelledSet:
    """Read a Pascal VOC folder (Annotations, ImageSets/Main, JPEGImages).

    Corners there are 1-based and inclusive; here x1 and y1 are one less. `classes` limits and
    orders the classes; None takes all, sorted. Raises InputError for what is missing.
    """
    try:
        from defusedxml.ElementTree import ParseError, parse
    except ImportError:
        raise missing_extra("defusedxml", "train") from None
    folder = Path(folder)
    names = _read_text(folder / "ImageSets" / "Main" / f"{split}.txt").split("\n")
    raw = []
    for name in (line.split()[0] for line in names if line.strip()):
        path = folder / "Annotations" / f"{Path(name).name}.xml"
        try:
            root = parse(path).getroot()
        except (OSError, ParseError) as error:
            raise InputError(f"{path} cannot be read: {error}") from None
        assert root is not None
        objects = []
        for node in root.iter("object"):
            corners = [float(node.findtext(f"bndbox/{key}") or "nan") for key in ("xmin", "ymin", "xmax", "ymax")]
            difficult = (node.findtext("difficult") or "0").strip() == "1"
            objects.append(((node.findtext("name") or "").strip(), difficult, corners))
        raw.append((_image(folder / "JPEGImages", Path(name).name), objects))
    known = tuple(classes) if classes else tuple(sorted({item[0] for _, objects in raw for item in objects}))
    index = {name: label for label, name in enumerate(known)}
    samples = []
    for number, (image, objects) in enumerate(raw, 1):
        rows = []
        for name, difficult, (x1, y1, x2, y2) in objects:
            if name in index:
                box = [x1 - 1, y1 - 1, x2, y2]
                rows.append((index[name], difficult, False, (x2 - x1 + 1) * (y2 - y1 + 1), box))
        samples.append(_sample(image, number, rows))
    return LabelledSet(tuple(samples), known, tuple(range(1, len(known) + 1)))


def load_coco(annotations: str | Path, images: str | Path, ids: Sequence[int] | None = None) -> LabelledSet:
    """Read COCO JSON; pictures are found in `images` by name, whatever their suffix. `ids` limits the pictures."""
    try:
        document = json.loads(_read_text(Path(annotations)))
        categories = sorted(document["categories"], key=lambda category: category["id"])
        index = {category["id"]: label for label, category in enumerate(categories)}
        by_image: dict[int, list[tuple[int, bool, bool, float, list[float]]]] = {}
        for item in document["annotations"]:
            x, y, width, height = item["bbox"]
            row = (index[item["category_id"]], False, bool(item.get("iscrowd", 0)), float(item["area"]))
            by_image.setdefault(item["image_id"], []).append((*row, [x, y, x + width, y + height]))
        samples = tuple(
            _sample(_image(Path(images), Path(entry["file_name"]).stem), entry["id"], by_image.get(entry["id"], []))
            for entry in document["images"]
            if ids is None or entry["id"] in ids
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{annotations} is not a COCO annotation file: {error!r}") from None
    return LabelledSet(samples, tuple(c["name"] for c in categories), tuple(c["id"] for c in categories))


def _image(folder: Path, stem: str) -> Path:
    for suffix in _SUFFIXES:
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise InputError(f"no picture {stem} (.jpg, .png, .webp, ...) in {folder}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
