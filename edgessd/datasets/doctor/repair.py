"""Write a repaired copy of a data set, in the format that it has; the original is never touched.

Boxes are cut to their picture, swapped corners put right, boxes without area and objects labelled
twice dropped, classes renamed as told, stated sizes corrected. Pictures that cannot be read are
left out. What only a person can judge (nearly equal boxes, pictures that are there twice, objects
outside, missing labels) stays and is reported. VOC's pose and parts are not carried over.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from edgessd._text import read_lines
from edgessd.datasets.doctor.boxes import OVERSHOOT, is_double
from edgessd.datasets.doctor.check import Checkup
from edgessd.datasets.records import Object, Record, Records
from edgessd.datasets.split import plain_name
from edgessd.errors import InputError, OptionError, did_you_mean
from edgessd.io.files import copy_part, make_folder, write_part
from edgessd.io.folders import new_folder

YOLO_SPLITS = ("train", "val", "valid", "validation", "test")


@dataclass(frozen=True)
class RepairReport:
    """What was done: number of pictures written, and how often each repair."""

    folder: Path
    pictures: int
    repairs: dict[str, int]


def repair(
    checkup: Checkup, out: Path, originals: Sequence[Path], renames: Mapping[str, str] | None = None
) -> RepairReport:
    """Write the repaired copy to the folder `out`, which must be new or empty and outside of `originals`.

    renames: {old class: new class}. Raises OptionError for an old name that does not occur, and
    InputError where `out` cannot be used. Every file is written whole or not at all.
    """
    renames = dict(renames or {})
    for old in renames:
        if old not in checkup.counts:
            raise OptionError(f"--rename: no object has the class {old!r}{did_you_mean(old, checkup.counts)}")
    check_target(out, originals)
    done: Counter[str] = Counter()
    kept: list[tuple[Record, tuple[int, int]]] = []
    for record in checkup.records.records:
        size = checkup.size(record.image)
        if size is None:
            done["picture that cannot be read left out"] += 1
            continue
        if record.size not in (None, size):
            done["stated size corrected"] += 1
        objects = _objects(record.objects, size, renames, checkup.records.format == "voc", done)
        kept.append((Record(record.image, record.image_id, tuple(objects), size, record.source), size))
    writer = {"voc": _write_voc, "coco": _write_coco, "yolo": _write_yolo}[checkup.records.format]
    classes = _number_classes(checkup.records, renames)
    with new_folder(out) as new:
        writer(new, kept, classes)
    return RepairReport(out, len(kept), dict(done))


def _number_classes(records: Records, renames: Mapping[str, str]) -> dict[str, int]:
    """Every class, renamed, and the number that the data has for it; without any 1, 2, ..."""
    numbers: dict[str, int] = {}
    for name, number in zip(records.names, records.category_ids or itertools.count(1), strict=False):
        new = renames.get(name, name)
        if new == name or new not in numbers:
            numbers[new] = number
    return numbers


def check_target(out: Path, originals: Sequence[Path]) -> None:
    """Raise InputError unless `out` is a new or empty folder outside of the original data; make it."""
    for original in originals:
        base = original if original.is_dir() else original.parent
        if out.resolve().is_relative_to(base.resolve()):
            raise InputError(f"{out} is inside the data set {base}: the copy needs a folder of its own")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: give a new folder for the repaired copy")
    make_folder(out)


def _objects(
    objects: Sequence[Object], size: tuple[int, int], renames: Mapping[str, str], voc: bool, done: Counter[str]
) -> list[Object]:
    kept: list[Object] = []
    added = 1.0 if voc else 0.0  # VOC's corners are inclusive: equal ones were meant to have no area
    for item in objects:
        name = renames.get(item.name, item.name)
        done["object renamed"] += name != item.name
        x1, y1, x2, y2 = item.box
        if x2 - added < x1 or y2 - added < y1:
            done["swapped corners put right"] += 1
            x1, x2 = min(x1, x2 - added), max(x1 + added, x2)
            y1, y2 = min(y1, y2 - added), max(y1 + added, y2)
        if x2 - x1 <= added or y2 - y1 <= added:
            done["box without area dropped"] += 1
            continue
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1])))
        if box[2] - box[0] <= added or box[3] - box[1] <= added:
            done["box outside the picture dropped"] += 1
            continue
        done["box cut to the picture"] += max(-x1, -y1, x2 - size[0], y2 - size[1]) > OVERSHOOT
        mended = item._replace(name=name, box=box)
        if is_double(mended, kept):
            done["object labelled twice dropped"] += 1
            continue
        if box != item.box:
            mended = mended._replace(area=(box[2] - box[0]) * (box[3] - box[1]))
        kept.append(mended)
    return kept


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_part(source, target)


def _names(kept: Sequence[tuple[Record, tuple[int, int]]]) -> list[Path]:
    """Names of the pictures in the copy: as they are, below the folder common to all; no two are the same."""
    folders = {str(record.image.parent) for record, _ in kept}
    base = Path(os.path.commonpath(folders)) if folders else Path()
    return [record.image.relative_to(base) for record, _ in kept]


def _write_voc(out: Path, kept: Sequence[tuple[Record, tuple[int, int]]], classes: Mapping[str, int]) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (out / name).mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for record, size in kept:
        stem = record.image.stem
        if stem in taken:
            raise InputError(f"two pictures are called {stem}: repair the data sets one by one")
        taken.add(stem)
        _copy(record.image, out / "JPEGImages" / record.image.name)
        write_part(out / "Annotations" / f"{stem}.xml", voc_xml(record, size))
    lists: dict[str, list[str]] = defaultdict(list)
    for folder in dict.fromkeys(record.source.parent.parent for record, _ in kept):
        for path in sorted((folder / "ImageSets" / "Main").glob("*.txt")):
            lines = (line.split() for line in read_lines(path))
            lists[path.name] += [" ".join(words) for words in lines if plain_name(words[0]) in taken]
    for name, lines_kept in lists.items():
        write_part(out / "ImageSets" / "Main" / name, "".join(f"{line}\n" for line in lines_kept))


def voc_xml(record: Record, size: tuple[int, int]) -> str:
    """Return a VOC annotation: corners 1-based and inclusive."""
    lines = [
        "<annotation>",
        f"\t<filename>{escape(record.image.name)}</filename>",
        f"\t<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>",
    ]
    for item in record.objects:
        x1, y1, x2, y2 = item.box
        corners = zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True)
        lines += [
            "\t<object>",
            f"\t\t<name>{escape(item.name)}</name>",
            f"\t\t<difficult>{int(item.difficult)}</difficult>",
            "\t\t<bndbox>" + "".join(f"<{key}>{round(value, 3):g}</{key}>" for key, value in corners) + "</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _write_coco(out: Path, kept: Sequence[tuple[Record, tuple[int, int]]], classes: Mapping[str, int]) -> None:
    """Write one JSON for each source file, with the categories as the data numbers them."""
    by_file: dict[Path, list[tuple[Record, tuple[int, int]]]] = defaultdict(list)
    for record, size in kept:
        by_file[record.source].append((record, size))
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for file, members in by_file.items():
        split = file.stem.removeprefix("instances_")
        if file.stem.startswith("_"):  # Roboflow has one _annotations.coco.json in the folder of each split
            split = file.parent.name
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for (record, size), name in zip(members, _names(members), strict=True):
            _copy(record.image, out / split / name)
            images.append({"id": record.image_id, "file_name": name.as_posix(), "width": size[0], "height": size[1]})
            for item in record.objects:
                x1, y1, x2, y2 = (round(value, 3) for value in item.box)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": record.image_id,
                        "category_id": classes[item.name],
                        "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
                        "area": item.area,
                        "iscrowd": int(item.crowd),
                    }
                )
        categories = [{"id": number, "name": name} for name, number in classes.items()]
        document = {"images": images, "annotations": annotations, "categories": categories}
        write_part(out / "annotations" / f"instances_{split}.json", json.dumps(document) + "\n")


def _yolo_parts(image: Path, folders: set[Path]) -> list[str]:
    """Return split, folders and name of a picture, from `images/SPLIT/...`, `SPLIT/images/...` or neither."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        place = len(parts) - 2 - parts[-2::-1].index("images")
        before = parts[place - 1 : place] if place else []
        return [part for part in before if part in YOLO_SPLITS] + parts[place + 1 :]
    return list(image.relative_to(os.path.commonpath(folders)).parts)


def _write_yolo(out: Path, kept: Sequence[tuple[Record, tuple[int, int]]], classes: Mapping[str, int]) -> None:
    ids = {name: number for number, name in enumerate(classes)}
    splits = set()
    folders = {record.image.parent for record, _ in kept}
    for record, (width, height) in kept:
        parts = _yolo_parts(record.image, folders)
        splits.add(parts[0] if len(parts) > 1 else "")
        _copy(record.image, out.joinpath("images", *parts))
        lines = []
        for item in record.objects:
            x1, y1, x2, y2 = item.box
            numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{ids[item.name]} " + " ".join(f"{value:.6f}" for value in numbers) + "\n")
        label = out.joinpath("labels", *parts).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        write_part(label, "".join(lines))
    settings = {"val" if split in ("valid", "validation") else split: split for split in sorted(splits) if split}
    text = "".join(f"{key}: images/{split}\n" for key, split in settings.items())
    names = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for name, number in ids.items())
    write_part(out / "data.yaml", f"{text}names:\n{names}")
