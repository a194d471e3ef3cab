"""Detections of a whole data set in a file, and back: each picture as `Detections.to_dict` has it, by its path."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgessd.datasets import LabelledSet
from edgessd.errors import InputError
from edgessd.io.files import printable, write_bytes_atomic
from edgessd.results import Detections
from edgessd.results.record import ObjectRecord, PictureRecord

SCHEMA = 2


class _Image(PictureRecord):
    name: str


class _File(Struct, forbid_unknown_fields=True, kw_only=True):
    model: str
    classes: tuple[str, ...]
    images: list[_Image]
    category_ids: tuple[int, ...] | None = None
    schema: int


class _OldImage(Struct, forbid_unknown_fields=True):
    name: str
    width: int
    height: int
    boxes: list[tuple[float, float, float, float]]
    scores: list[float]
    labels: list[int]


class _OldFile(Struct, forbid_unknown_fields=True):
    model: str
    classes: tuple[str, ...]
    images: list[_OldImage]


class _Head(Struct):
    schema: int = 1


def save_detections(path: Path, model: str, truth: LabelledSet, detections: Sequence[Detections]) -> None:
    """Write detections as JSON, atomically, exact to the last digit of float32.

    `{"schema", "model", "classes", "category_ids", "images": [{"name", ...}]}`: each picture is what
    `Detections.to_dict` returns without its classes; `name` is its path from the folder on that all pictures share.
    Raises InputError where there is not one for each sample, and where two have other classes.
    """
    if len(detections) != len(truth.samples):
        raise InputError(f"{len(detections)} detections for {len(truth.samples)} pictures: give one for each")
    models = {(found.classes, found.category_ids) for found in detections} or {((), None)}
    if len(models) > 1:
        raise InputError("detections of models with other classes cannot lie in one file")
    images: dict[str, dict[str, Any]] = {}
    names = _names([sample.image.absolute() for sample in truth.samples])
    for number, found in enumerate(detections):
        images[names[number]] = {"name": names[number], **found.to_dict(classes=False)}
    ((classes, ids),) = models
    head = {"schema": SCHEMA, "model": model, "classes": classes, "category_ids": ids}
    write_bytes_atomic(path, msgspec.json.encode({**head, "images": list(images.values())}) + b"\n")


def load_detections(path: Path, truth: LabelledSet) -> tuple[str, tuple[str, ...], list[Detections]]:
    """Read stored detections: the model's name, its classes, and the detections of every sample, in order.

    Pictures are found by the end of their paths, so that the data may have moved and `truth` may be a part of what was
    stored. Files of before there was a `schema` are read too; they know pictures by bare names.
    Raises InputError for a file that is not one of ours, is inconsistent, lacks one of the pictures, or could mean
    several.
    """
    stored = _read(path)
    by_name = {image.name: image for image in stored.images}
    if len(by_name) != len(stored.images):
        raise InputError(f"{printable(path)} has several pictures of one name")
    places = [sample.image.absolute() for sample in truth.samples]
    find = _old_names if stored.schema == 1 else _names_among
    names, several = find(places, by_name)
    missing = [places[number] for number, name in enumerate(names) if name not in by_name]
    if missing:
        raise InputError(
            f"{printable(path)} has no detections of {len(missing)} of the {len(names)} pictures, such as "
            f"{printable(missing[0].stem)}: it was made from other data or another split"
        )
    if several:
        raise InputError(f"{printable(path)} does not tell {' and '.join(map(printable, several))} apart: detect again")
    found = {name: _detections(path, by_name[name], stored) for name in names}
    return stored.model, stored.classes, [found[name] for name in names]


def _detections(path: Path, image: _Image, stored: _File) -> Detections:
    try:
        return Detections.from_record(image, stored.classes, stored.category_ids)
    except InputError as error:
        raise InputError(f"{printable(path)}: picture {printable(image.name)}: {error}") from None


def _read(path: Path) -> _File:
    try:
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=_Head).schema
        if schema not in (1, SCHEMA):
            raise ValueError(f"schema {schema} is unknown")
        return (
            _of_old(msgspec.json.decode(data, type=_OldFile)) if schema == 1 else msgspec.json.decode(data, type=_File)
        )
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise InputError(f"{printable(path)} is no file of stored detections: {printable(error)}") from None


def _of_old(file: _OldFile) -> _File:
    """The same file in today's form; `schema` still says that its names are bare ones."""
    images = []
    for old in file.images:
        if not len(old.boxes) == len(old.scores) == len(old.labels):
            raise ValueError(f"picture {old.name} has unequal numbers of boxes, scores and labels")
        objects = [
            ObjectRecord(label=label, score=old.scores[number], box=old.boxes[number])
            for number, label in enumerate(old.labels)
        ]
        images.append(_Image(name=old.name, width=old.width, height=old.height, objects=objects))
    return _File(model=file.model, classes=file.classes, images=images, schema=1)


def _names(places: Sequence[Path]) -> list[str]:
    """The path of every picture from the folder on that all of them share, such as `val2017/1.jpg`."""
    return _paths_below(_shared_folder(places).parent, places)


def _names_among(places: Sequence[Path], stored: Collection[str]) -> tuple[list[str], list[str]]:
    """The stored names of pictures: their paths below one folder, wherever that lies now.

    The shared folder itself may have another name now where folders below it still tell one split from another.
    Below several folders all names may be there; then two such names of a picture are returned besides.
    """
    shared = _shared_folder(places)
    names = [_paths_below(base, places) for base in (shared, *shared.parents)]
    fits = [each for each in names if all(name in stored for name in each)]
    if not fits:
        below = {name.partition("/")[2]: name for name in stored}
        inner = [each for each in names if all("/" in name and name in below for name in each)]
        fits = [[below[name] for name in each] for each in inner]
    if fits:
        first, *others = fits
        return first, [each[0] for each in fits] if others else []
    return max(names, key=lambda each: sum(name in stored for name in each)), []


def _old_names(places: Sequence[Path], stored: Collection[str]) -> tuple[list[str], list[str]]:
    """The names in old files: without suffix, and with one folder where that was not enough; and two of one name."""
    names = []
    taken: dict[str, Path] = {}
    for place in places:
        long = f"{place.parent.name}/{place.stem}"
        names.append(long if long in stored else place.stem)
        if taken.setdefault(names[-1], place) != place:
            return names, [str(taken[names[-1]]), str(place)]
    return names, []


def _shared_folder(places: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([place.parent for place in places])) if places else Path("/")


def _paths_below(base: Path, places: Sequence[Path]) -> list[str]:
    return [place.relative_to(base).as_posix() for place in places]
