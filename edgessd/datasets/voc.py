"""Pascal VOC: XML files in a folder, pictures beside them or in one of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgessd._text import read_lines
from edgessd.datasets.pictures import PictureIndex
from edgessd.datasets.problems import Problem, report
from edgessd.datasets.records import Object, Record, Records, build
from edgessd.datasets.split import NoSplitError
from edgessd.datasets.types import LabelledSet
from edgessd.errors import InputError, did_you_mean
from edgessd.io.xml import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ANNOTATION_FOLDERS = ("Annotations", "annotations", "Annotations/xmls", "annotations/xmls", "xml", "labels")
PICTURE_FOLDERS = ("JPEGImages", "images", "Images", "img", "imgs")


def load_voc(folder: str | Path, split: str | None = None, classes: Sequence[str] | None = None) -> LabelledSet:
    """Read a Pascal VOC folder (Annotations, ImageSets/Main, JPEGImages).

    Corners there are 1-based and inclusive; here x1 and y1 are one less. `classes` limits and
    orders the classes; None takes all, sorted. Raises InputError for what is missing.
    """
    return build(read_voc(Path(folder), split), classes)


def annotation_folder(folder: Path) -> Path | None:
    """Return the folder that holds the XML files of a data set, None where there is none."""
    for name in (*ANNOTATION_FOLDERS, "."):
        if (place := folder / name).is_dir() and next(place.glob("*.xml"), None) is not None:
            return place
    return None


def split_names(folder: Path) -> list[str]:
    """Return the names of the splits of a VOC folder (files of ImageSets/Main; VOC's per-class lists left out)."""
    names = sorted(path.stem for path in (folder / "ImageSets" / "Main").glob("*.txt"))
    return [name for name in names if name.rpartition("_")[2] not in names or "_" not in name]


def read_voc(
    folder: Path,
    split: str | None = None,
    *,
    names: Sequence[str] | None = None,
    images: Path | None = None,
    problems: list[Problem] | None = None,
) -> Records:
    """Read the annotations of one split, or all of them for None.

    names: pictures to read, instead of a split. images: where they are, if not where VOC has them.
    problems: where given, faults are added to it instead of raising InputError.
    """
    source = annotation_folder(folder) or folder / "Annotations"
    if images is None:
        images = next((folder / name for name in PICTURE_FOLDERS if (folder / name).is_dir()), folder)
    if names is None and split is not None:
        names = _split(folder, split)
    if names is None:
        names = sorted(path.stem for path in source.glob("*.xml"))
    index = PictureIndex(images)
    records = []
    for number, name in enumerate(names, 1):
        path = source / f"{Path(name).name}.xml"
        record = _read(path, number, index, problems)
        if record is not None:
            records.append(record)
    return Records(tuple(records), index.paths, "voc")


def _split(folder: Path, split: str) -> list[str]:
    path = folder / "ImageSets" / "Main" / f"{Path(split).name}.txt"
    if not path.is_file():
        known = split_names(folder)
        have = f"it has {', '.join(known)}" if known else "it has no ImageSets/Main"
        hint = did_you_mean(split, known)
        raise NoSplitError(
            f"{folder} has no split {split!r} (no file {path.name} in ImageSets/Main; {have}){hint}: "
            "name one of them, a list (.txt), or a fraction such as 0.8"
        )
    names = [line.split()[0] for line in read_lines(path)]
    if not names:
        raise InputError(f"{path} names no pictures: choose another split")
    return names


def _read(path: Path, number: int, index: PictureIndex, problems: list[Problem] | None) -> Record | None:
    try:
        root = parse_xml(path.read_bytes())
    except FileNotFoundError:
        report(problems, Problem("annotation", "there is no such annotation", path))
        return None
    except (OSError, ValueError) as error:
        report(problems, Problem("annotation", f"cannot be read: {error}", path))
        return None
    if root.tag != "annotation":
        report(problems, Problem("annotation", "is not a Pascal VOC annotation (no <annotation> in it)", path))
        return None
    image = index.find(path.stem) or index.find((root.findtext("filename") or "").strip() or path.stem)
    if image is None:
        text = f"no picture {path.stem} (.jpg, .png, .webp, ...) in {index.folder}"
        report(problems, Problem("no-image", text, path))
        return None
    objects = []
    for node in root.findall("object"):
        item = _object(node, path, image, problems)
        if item is not None:
            objects.append(item)
    return Record(image, number, tuple(objects), _size(root), path)


def _object(node: Element, path: Path, image: Path, problems: list[Problem] | None) -> Object | None:
    name = (node.findtext("name") or "").strip()
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        try:
            corners.append(float(node.findtext(f"bndbox/{key}") or ""))
        except ValueError:
            corners.append(math.nan)
    if not name or not all(map(math.isfinite, corners)):
        text = f"an object ({name or 'without a name'}) has no box of four numbers" if name else "an object has no name"
        report(problems, Problem("object", text, path, image))
        return None
    x1, y1, x2, y2 = corners
    difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true")
    return Object(name, (x1 - 1, y1 - 1, x2, y2), max(0.0, x2 - x1 + 1) * max(0.0, y2 - y1 + 1), difficult)


def _size(root: Element) -> tuple[int, int] | None:
    try:
        width = int(float(root.findtext("size/width") or ""))
        height = int(float(root.findtext("size/height") or ""))
    except (ValueError, OverflowError):
        return None
    # Some tools write 0 x 0 when they do not know the size.
    return (width, height) if width > 0 and height > 0 else None
