"""From a result to what other tools read: COCO JSON, CSV, YOLO text files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple, get_args

from edgessd.apps.bulk.manifest import Manifest, finished_blocks, part_name, read_manifest
from edgessd.apps.bulk.rows import Row, found_of, read_rows
from edgessd.apps.bulk.storage import Storage
from edgessd.classes.coco import coco_category_ids
from edgessd.errors import InputError, OptionError, did_you_mean, printable
from edgessd.io.address import file_name
from edgessd.io.files import atomic_write, open_text, write_part
from edgessd.io.folders import new_folder
from edgessd.results import Detections

Format = Literal["coco", "csv", "yolo"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Converted(NamedTuple):
    """What went into a file. failed: pictures of the result that have an error, and are left out."""

    pictures: int
    objects: int
    failed: int


def convert(result: str | Path, to: str, target: str | Path) -> Converted:
    """Write a result as `coco` (one JSON file), `csv` (one line an object) or `yolo` (a new folder).

    coco: `images`, `categories` (the model's ids; without any COCO's own where all classes are COCO's, else 1, 2, ...)
    and `annotations` with a score.
    csv: the columns of `edgessd detect --csv`. yolo: data.yaml and labels/NAME.txt; scores have no place there.
    Rows go through one by one, so that memory does not grow with the result. Raises InputError for a folder that
    is no result or not finished, OptionError for another format.
    """
    if to not in FORMATS:
        raise OptionError(f"unknown format {to!r}{did_you_mean(to, FORMATS)}: use {', '.join(FORMATS)}")
    storage = Storage(str(result))
    manifest = read_manifest(storage)
    done = len(finished_blocks(storage))
    if done < manifest.source.blocks:
        raise InputError(
            f"{printable(storage.address)} is not finished ({done} of {manifest.source.blocks} blocks): "
            "finish it with --resume first"
        )
    return _WRITERS[to](storage, manifest, Path(target))


def _rows(storage: Storage, manifest: Manifest) -> Iterator[tuple[Row, Detections | None]]:
    """Every row, with its detections; None where there is no answer."""
    for block in range(manifest.source.blocks):
        for row in read_rows(storage, part_name(block)):
            yield row, None if row.error is not None else found_of(row, manifest.model)


def _to_csv(storage: Storage, manifest: Manifest, target: Path) -> Converted:
    pictures = objects = failed = 0
    with atomic_write(target) as temporary, open_text(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", "frame", "name", "label", "score", "x1", "y1", "x2", "y2"])
        for row, found in _rows(storage, manifest):
            if found is None:
                failed += 1
                continue
            pictures += 1
            objects += len(found)
            for each in found.to_dict(classes=False)["objects"]:
                writer.writerow([row.path, 0, each["name"], each["label"], each["score"], *each["box"]])
    return Converted(pictures, objects, failed)


def _to_coco(storage: Storage, manifest: Manifest, target: Path) -> Converted:
    model = manifest.model
    ids = model.category_ids or coco_category_ids(model.classes) or tuple(range(1, len(model.classes) + 1))
    categories = [{"id": number, "name": name} for number, name in zip(ids, model.classes, strict=True)]
    pictures = objects = failed = 0
    with atomic_write(target) as temporary, open_text(temporary) as file:
        file.write('{"categories": ' + json.dumps(categories) + ',\n"images": [')
        for row, found in _rows(storage, manifest):
            if found is None:
                failed += 1
                continue
            _item(file, pictures, {"id": row.index, "file_name": row.path, "width": row.width, "height": row.height})
            pictures += 1
        file.write('],\n"annotations": [')
        for row, found in _rows(storage, manifest):
            if found is None:
                continue
            for entry, area in zip(found.to_coco(row.index, ids), found.area.tolist(), strict=True):
                _item(file, objects, {"id": objects + 1, **entry, "area": area, "iscrowd": 0})
                objects += 1
        file.write("]}\n")
    return Converted(pictures, objects, failed)


def _item(file: IO[str], number: int, value: dict[str, object]) -> None:
    file.write(("," if number else "") + "\n" + json.dumps(value))


def _to_yolo(storage: Storage, manifest: Manifest, target: Path) -> Converted:
    with new_folder(target) as temporary:
        return _fill_yolo(storage, manifest, temporary)


def _fill_yolo(storage: Storage, manifest: Manifest, folder: Path) -> Converted:
    names = json.dumps(manifest.model.classes, ensure_ascii=False, indent=1)  # JSON is YAML
    write_part(folder / "data.yaml", f"path: .\ntrain: images\nval: images\nnames: {names}\n")
    labels = folder / "labels"
    labels.mkdir()
    pictures = objects = failed = 0
    written: dict[str, str] = {}
    for row, found in _rows(storage, manifest):
        if found is None:
            failed += 1
            continue
        pictures += 1
        objects += len(found)
        width, height = found.image_size
        stem = Path(file_name(row.path)).stem
        if written.setdefault(stem, row.path) != row.path:
            raise InputError(
                f"{printable(written[stem])} and {printable(row.path)} have the same name, which is what YOLO finds "
                "labels by: convert to coco or csv, or rename one"
            )
        lines = [
            f"{label} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
            f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
            for (x1, y1, x2, y2), _, label, _ in found
        ]
        write_part(labels / f"{stem}.txt", "".join(lines))
    return Converted(pictures, objects, failed)


_WRITERS = {"coco": _to_coco, "csv": _to_csv, "yolo": _to_yolo}
