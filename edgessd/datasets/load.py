"""`load_dataset`: recognise a data set by what is there, read it, split it, put several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgessd._text import read_lines
from edgessd.classes.class_map import ClassMap
from edgessd.datasets.coco import choose_file, coco_files, read_coco
from edgessd.datasets.problems import Problem
from edgessd.datasets.records import Record, Records, build
from edgessd.datasets.split import NoSplitError, by_fraction, by_list, fraction
from edgessd.datasets.types import LabelledSet
from edgessd.datasets.voc import annotation_folder, read_voc
from edgessd.datasets.yolo import read_yolo, yolo_file
from edgessd.errors import InputError

LOOKED_FOR = (
    "Pascal VOC (Annotations/*.xml, or XML files beside pictures), COCO (annotations/instances_*.json), "
    "YOLO (data.yaml or classes.txt)"
)

Source = str | Path | Sequence[str | Path]


def load_dataset(
    path: Source,
    split: str | None = None,
    *,
    classes: Sequence[str] | str | Path | None = None,
    images: str | Path | None = None,
    seed: int = 0,
) -> LabelledSet:
    """Read a labelled data set: Pascal VOC, COCO JSON or YOLO, whichever is there.

    path: a folder (also VOCdevkit, or one that holds one VOCxxxx), a COCO JSON, a data.yaml; or
        several of them, as a list or as `a+b`: their classes are merged by name (`airplane` and
        `aeroplane` are one), the first spelling stays.
    split: a name (`train`), a list of pictures (`some.txt`), or a fraction: `0.8` is 80 % of the
        pictures, `0.8:` the rest, chosen by a hash of name and `seed`. None takes everything.
    classes: names, or a file with one a line; they limit and order the classes, and are found by
        name (or alias). None takes those of the data; where these are not declared (VOC), those
        that occur in the split, sorted: give the classes of the first split to the second.
    images: the folder of the pictures, if it is not where the format has it.

    Boxes stay as the annotations have them, also empty ones; see `edgessd doctor`. Raises InputError,
    naming the file, for what is missing or cannot be read, and when no picture is left.
    """
    records = read_dataset(path, split, images=images, seed=seed)
    if not records.records:
        where = "no annotated pictures" if split is None else f"no pictures in the split {split!r}"
        raise InputError(f"{_source_text(path)} has {where}: check the path and the split")
    return build(records, None if classes is None else read_classes(classes))


def read_dataset(
    path: Source,
    split: str | None = None,
    *,
    images: str | Path | None = None,
    seed: int = 0,
    problems: list[Problem] | None = None,
) -> Records:
    """Read as `load_dataset` does, before classes become labels.

    problems: where given, faults of single annotations are added to it instead of raising InputError.
    """
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise InputError(f"there is no folder of pictures {folder}: check the path")
    parts = []
    for each in sources(path):
        found = _read(each, split, folder, problems)
        part = fraction(split) if split is not None else None
        if part is not None:
            found = replace(found, records=tuple(by_fraction(found.records, part, seed)))
        elif split is not None and _is_list(split):
            found = replace(found, records=tuple(by_list(found.records, Path(split))))
        parts.append(found)
    return merge(parts)


def sources(path: Source) -> list[Path]:
    """Return the data sets that `path` names: one, the members of a list, or the parts of `a+b`."""
    if not isinstance(path, str | Path):
        found = [Path(each) for each in path]
    elif "+" in str(path) and not Path(path).exists():
        found = [Path(each) for each in str(path).split("+")]
    else:
        found = [Path(path)]
    if not found:
        raise InputError("no data set is given: name its folder")
    return found


def read_classes(classes: Sequence[str] | str | Path) -> list[str]:
    """Return class names from a list, or from a file with one name a line."""
    if isinstance(classes, str | Path):
        return read_lines(Path(classes))
    return list(classes)


def merge(parts: Sequence[Records]) -> Records:
    """Put data sets together: classes by name, new ones at the end; pictures get new ids where two have the same."""
    if len(parts) == 1:
        return parts[0]
    names: list[str] = []
    ids: list[set[int]] = []
    records: list[Record] = []
    for part in parts:
        known = ClassMap(part.names, names)
        spelling = dict(zip(known.source, known.spelling, strict=True))
        names += known.only_source
        ids += [set() for _ in known.only_source]
        for name, number in zip(part.names, part.category_ids or (), strict=part.category_ids is not None):
            ids[names.index(spelling[name])].add(number)
        for record in part.records:
            objects = tuple(item._replace(name=spelling[item.name]) for item in record.objects)
            records.append(replace(record, objects=objects))
    if len({record.image_id for record in records}) != len(records):
        records = [replace(record, image_id=number) for number, record in enumerate(records, 1)]
    if all(part.classes is None for part in parts):
        names, ids = sorted(names), []
    formats = {part.format for part in parts}
    pictures = tuple(dict.fromkeys(picture for part in parts for picture in part.pictures))
    format = formats.pop() if len(formats) == 1 else "voc"
    return Records(tuple(records), pictures, format, tuple(names), _common_ids(ids))


def _common_ids(ids: Sequence[set[int]]) -> tuple[int, ...] | None:
    """One id for each class where the parts that have ids agree about them, and differ between classes; or None."""
    found = tuple(number for each in ids for number in each)
    return found if found and all(len(each) == 1 for each in ids) and len(set(found)) == len(ids) else None


def _read(path: Path, split: str | None, images: Path | None, problems: list[Problem] | None) -> Records:
    name = None if split is None or _is_list(split) or fraction(split) is not None else split
    if path.is_file():
        if path.suffix.lower() == ".json":
            if name is not None:
                raise NoSplitError(
                    f"{path} is one file and has no split {name!r}: name its folder, a list (.txt), or a fraction such "
                    "as 0.8"
                )
            return read_coco(path, images, problems=problems)
        if path.suffix.lower() in (".yaml", ".yml"):
            return read_yolo(path, name, images=images, problems=problems)
        raise InputError(f"{path} is no data set: name a folder, a COCO .json or a data.yaml")
    if not path.is_dir():
        raise InputError(f"there is no data set {path}: check the path")
    folder = _voc_folder(path)
    if folder is not None:
        return read_voc(folder, name, images=images, problems=problems)
    if coco_files(path):
        files = choose_file(path, name)
        return merge([read_coco(file, images, problems=problems) for file in files])
    if yolo_file(path) is not None:
        return read_yolo(path, name, images=images, problems=problems)
    raise InputError(f"{path} holds no data set that edgessd knows; looked for {LOOKED_FOR}")


def _voc_folder(path: Path) -> Path | None:
    """Return the VOC folder that `path` is or holds. Raises InputError where it holds several."""
    if annotation_folder(path) is not None or (path / "ImageSets").is_dir():
        return path
    inner = path / "VOCdevkit"
    base = inner if inner.is_dir() else path
    found = [place for place in sorted(base.glob("VOC*")) if (place / "Annotations").is_dir()]
    if len(found) > 1:
        raise InputError(f"{path} holds several data sets: name one of them, or join them: {'+'.join(map(str, found))}")
    return found[0] if found else None


def _is_list(split: str) -> bool:
    if not split.lower().endswith(".txt"):
        return False
    if not Path(split).is_file():
        raise InputError(f"there is no list of pictures {split}: check the path")
    return True


def _source_text(path: Source) -> str:
    return "+".join(map(str, sources(path)))
