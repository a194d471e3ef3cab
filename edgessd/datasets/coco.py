"""COCO JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgessd._text import read_text
from edgessd.datasets.pictures import PictureIndex
from edgessd.datasets.problems import Problem, report
from edgessd.datasets.records import Object, Record, Records, build
from edgessd.datasets.split import NoSplitError
from edgessd.datasets.types import LabelledSet
from edgessd.errors import InputError, did_you_mean
from edgessd.io.files import printable

ROBOFLOW = "_annotations.coco.json"


def load_coco(annotations: str | Path, images: str | Path, ids: Sequence[int] | None = None) -> LabelledSet:
    """Read COCO JSON; pictures are found in `images` by name, whatever their suffix. `ids` limits the pictures."""
    return build(read_coco(Path(annotations), Path(images), ids=ids))


def coco_files(folder: Path) -> dict[str, Path]:
    """Return the annotation file of each split of a COCO folder, by name; empty where it has none."""
    found = {
        path.stem.removeprefix("instances_"): path
        for place in (folder / "annotations", folder / "Annotations", folder)
        for path in sorted(place.glob("*.json"))
        if not path.name.startswith((".", "_", "captions_", "person_keypoints_", "image_info_", "stuff_", "panoptic_"))
    }
    found |= {path.parent.name: path for path in sorted(folder.glob(f"*/{ROBOFLOW}"))}
    if (folder / ROBOFLOW).is_file():
        found[folder.name] = folder / ROBOFLOW
    return found


def choose_file(folder: Path, split: str | None) -> list[Path]:
    """Return the annotation file of a split of a COCO folder, or all of them for None. Raises InputError."""
    files = coco_files(folder)
    if split is None:
        return list(dict.fromkeys(files.values()))
    if split not in files:
        raise NoSplitError(
            f"{folder} has no split {split!r} (no instances_{split}.json; it has {', '.join(files) or 'none'})"
            f"{did_you_mean(split, files)}: name one of them, a list (.txt), or a fraction such as 0.8"
        )
    return [files[split]]


def guess_images(annotations: Path) -> Path:
    """Return the folder of the pictures that belong to an annotation file: the one with the split's name, if any."""
    split = annotations.stem.removeprefix("instances_")
    if annotations.name == ROBOFLOW:
        return annotations.parent
    base = annotations.parent.parent if annotations.parent.name.lower() == "annotations" else annotations.parent
    for name in (split, f"images/{split}", "images", "JPEGImages"):
        if (base / name).is_dir():
            return base / name
    return base


def read_coco(
    annotations: Path,
    images: Path | None = None,
    *,
    ids: Sequence[int] | None = None,
    problems: list[Problem] | None = None,
) -> Records:
    """Read one annotation file. images: None means the folder with the split's name.

    problems: where given, faults are added to it instead of raising InputError. A file that is no
    COCO JSON at all raises InputError in any case.
    """
    try:
        document = json.loads(read_text(annotations))
        categories = {_category(item["id"]): str(item["name"]).strip() for item in document["categories"]}
        entries = {_id(item["id"]): item for item in document["images"]}
        items: list[dict[str, Any]] = document["annotations"]
        iter(items)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{printable(annotations)} is not a COCO annotation file: {error!r}") from None
    if len(set(categories.values())) != len(categories):
        raise InputError(f"{printable(annotations)}: two categories have the same name: give each a name of its own")
    by_image: dict[int, list[Object]] = {}
    for item in items:
        _add(item, categories, entries, by_image, annotations, problems)
    index = PictureIndex(guess_images(annotations) if images is None else images)
    wanted = None if ids is None else set(ids)
    records = []
    for key, entry in entries.items():
        if wanted is not None and key not in wanted:
            continue
        name = str(entry.get("file_name") or "")
        image = index.find(name) if name else None
        if image is None:
            stem = Path(name).stem if name else f"of image {key}"
            text = f"no picture {printable(stem)} (.jpg, .png, .webp, ...) in {index.folder}"
            report(problems, Problem("no-image", text, annotations))
            continue
        records.append(Record(image, key, tuple(by_image.get(key, ())), _size(entry), annotations))
    order = sorted(categories)
    return Records(tuple(records), index.paths, "coco", tuple(categories[i] for i in order), tuple(order))


def _id(value: Any) -> int:
    """Ids are whole numbers; some tools write them as text."""
    return int(value)


def _category(value: Any) -> int:
    number = _id(value)
    if abs(number) >= 2**53:
        raise ValueError(f"category {number} is beyond 2**53, where not every JSON reader is exact")
    return number


def _add(
    item: Any,
    categories: dict[int, str],
    entries: dict[int, Any],
    by_image: dict[int, list[Object]],
    path: Path,
    problems: list[Problem] | None,
) -> None:
    try:
        image, category = _id(item["image_id"]), _id(item["category_id"])
        x, y, width, height = (float(value) for value in item["bbox"])
        if not all(map(math.isfinite, (x, y, width, height))):
            raise ValueError("numbers must be finite")
        area = float(item.get("area", max(width, 0.0) * max(height, 0.0)))
        number = item.get("id", "?")
        crowd = bool(item.get("iscrowd", 0))
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        shown = item.get("id", "?") if isinstance(item, dict) else "?"
        report(problems, Problem("object", f"is not a COCO annotation: entry {shown} is wrong: {error!r}", path))
        return
    if category not in categories:
        text = f"annotation {number} has the category {category}, which the file does not declare"
        report(problems, Problem("class", text, path))
        return
    if image not in entries:
        text = f"annotation {number} belongs to image {image}, which the file does not list"
        report(problems, Problem("no-image", text, path))
        return
    box = (x, y, x + width, y + height)
    by_image.setdefault(image, []).append(Object(categories[category], box, area, crowd=crowd))


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    try:
        width, height = int(entry["width"]), int(entry["height"])
    except (KeyError, ValueError, TypeError):
        return None
    return (width, height) if width > 0 and height > 0 else None
