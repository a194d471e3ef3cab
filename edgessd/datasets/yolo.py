"""YOLO text labels: data.yaml or classes.txt, images/SPLIT and labels/SPLIT."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

from edgessd._text import read_lines, read_text
from edgessd.datasets.pictures import PictureIndex
from edgessd.datasets.problems import Problem, report
from edgessd.datasets.records import Object, Record, Records
from edgessd.datasets.split import NoSplitError
from edgessd.errors import InputError, did_you_mean
from edgessd.io.images import picture_size

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAME_FILES = ("classes.txt", "labels.txt", "obj.names", "classes.names")
SPLIT_ALIASES = {"val": ("valid", "validation"), "valid": ("val",), "validation": ("val", "valid")}


def yolo_file(folder: Path) -> Path | None:
    """Return the file that names the classes of a YOLO folder, None where there is none."""
    return next((folder / name for name in (*YAML_FILES, *NAME_FILES) if (folder / name).is_file()), None)


def read_yolo(
    path: Path,
    split: str | None = None,
    *,
    images: Path | None = None,
    problems: list[Problem] | None = None,
) -> Records:
    """Read one split, or all of them for None. path: the folder, or its data.yaml.

    A picture without a label file has no objects, as YOLO means it. Lines of more than five numbers
    are polygons; their bounding box is taken. problems: where given, faults are added to it instead
    of raising InputError.
    """
    file = path if path.is_file() else yolo_file(path)
    if file is None:
        raise InputError(f"{path} has no {' or '.join((*YAML_FILES[:1], *NAME_FILES[:1]))}: it must name the classes")
    root = file.parent
    settings: dict[str, object] = {}
    if file.suffix in (".yaml", ".yml"):
        from edgessd.datasets.yaml import read_yaml  # here, because every command would wait for PyYAML

        settings = read_yaml(file)
    classes = _classes(file, settings)
    records: list[Record] = []
    pictures: dict[Path, None] = {}
    for folder in [images] if images is not None else _folders(root, settings, split):
        index = PictureIndex(folder)
        pictures |= dict.fromkeys(index.paths)
        records += _read_folder(root, index, classes, len(records), problems)
    if not records and problems is None:
        raise InputError(f"{root} has no pictures in {', '.join(map(str, _folders(root, settings, split)))}")
    return Records(tuple(records), tuple(pictures), "yolo", classes)


def _classes(file: Path, settings: dict[str, object]) -> tuple[str, ...]:
    if settings:
        names = settings.get("names")
        if isinstance(names, dict):
            try:
                order = {int(key): str(value) for key, value in names.items()}
            except ValueError:
                raise InputError(f"{file}: the keys of `names` must be numbers") from None
            if sorted(order) != list(range(len(order))):
                raise InputError(f"{file}: `names` must number the classes 0, 1, 2, ... without gaps")
            names = [order[key] for key in range(len(order))]
        if not isinstance(names, list) or not names:
            raise InputError(f"{file} names no classes: give it `names: [cat, dog]`")
        found = [str(name) for name in names]
    else:
        found = read_lines(file)
    if not found:
        raise InputError(f"{file} names no classes: write one to a line")
    if len(set(found)) != len(found):
        raise InputError(f"{file}: a class is named twice: give each a name of its own")
    return tuple(found)


def _folders(root: Path, settings: dict[str, object], split: str | None) -> list[Path]:
    """Folders of the pictures of a split, inside the data set."""
    if split is None:
        folders = [folder for name in ("train", "val", "test") for folder in _named(root, settings, name)]
        return list(dict.fromkeys(folders)) or [root / "images" if (root / "images").is_dir() else root]
    for name in (split, *SPLIT_ALIASES.get(split, ())):
        named = _named(root, settings, name)
        usual = (root / "images" / name, root / name / "images", root / name)
        found = named or [place for place in usual if place.is_dir()][:1]
        if found:
            return found
    have = sorted({p.name for p in (root / "images").glob("*") if p.is_dir()})
    raise NoSplitError(
        f"{root} has no split {split!r} (no images/{split} or {split}/images; it has {', '.join(have) or 'none'})"
        f"{did_you_mean(split, have)}: name one of them, a list (.txt), or a fraction such as 0.8"
    )


def _named(root: Path, settings: dict[str, object], name: str) -> list[Path]:
    """Folders that data.yaml names for a split, one or a list, as far as they are there."""
    value = settings.get(name)
    found = []
    for text in value if isinstance(value, list) else [value]:
        # A path in data.yaml is often somebody else's: only its part inside the data set is used.
        words = re.split(r"[\\/]", text) if isinstance(text, str) else []
        parts = [word for word in words if word not in ("", ".", "..")]
        places = (root.joinpath(*parts[start:]) for start in range(len(parts)))
        found += [place for place in places if place.is_dir()][:1]
    return found


def _label_file(root: Path, image: Path) -> Path:
    """Return the label file of a picture: the last `images` in its path becomes `labels`; else it lies beside it."""
    parts = list(image.relative_to(root).parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return root.joinpath(*parts).with_suffix(".txt")
    beside = image.with_suffix(".txt")
    return beside if beside.is_file() else root.joinpath("labels", *parts).with_suffix(".txt")


def _read_folder(
    root: Path, index: PictureIndex, classes: tuple[str, ...], start: int, problems: list[Problem] | None
) -> Iterable[Record]:
    for number, image in enumerate(index.paths, start + 1):
        base = root if image.is_relative_to(root) else index.folder.parent
        label = _label_file(base, image)
        objects: list[Object] = []
        size = None
        try:
            lines = read_text(label).splitlines() if label.is_file() else []
            if any(line.strip() for line in lines):
                size = picture_size(image)
        except InputError as error:
            if problems is None:
                raise
            # A broken picture is reported where all pictures are decoded; here its labels cannot be scaled.
            problems.append(Problem("annotation", str(error).removeprefix(f"{label} "), label, image))
            lines = []
        for row, line in enumerate(lines, 1):
            if line.strip() and size is not None:
                item = _object(line, row, size, classes, label, image, problems)
                objects += [] if item is None else [item]
        yield Record(image, number, tuple(objects), None, label)


def _object(
    line: str,
    row: int,
    size: tuple[int, int],
    classes: tuple[str, ...],
    path: Path,
    image: Path,
    problems: list[Problem] | None,
) -> Object | None:
    try:
        values = [float(word) for word in line.split()]
        if len(values) < 5 or not all(map(math.isfinite, values)) or values[0] != int(values[0]):
            raise ValueError
    except ValueError:
        report(problems, Problem("object", f"line {row} is not `class cx cy width height`: {line[:60]!r}", path, image))
        return None
    label = int(values[0])
    if not 0 <= label < len(classes):
        text = f"line {row} has the class {label}, but there are {len(classes)} classes (0 to {len(classes) - 1})"
        report(problems, Problem("class", text, path, image))
        return None
    width, height = size
    if len(values) == 5:
        cx, cy, w, h = values[1:]
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    else:
        xs, ys = values[1::2], values[2::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
    box = (corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height)
    return Object(classes[label], box, max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))
