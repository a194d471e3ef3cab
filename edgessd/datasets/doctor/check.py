"""Examine a whole data set: every annotation, every picture, every box."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgessd._text import read_lines
from edgessd.datasets.doctor.boxes import box_problems, odd_sizes
from edgessd.datasets.doctor.names import misspelt
from edgessd.datasets.doctor.scan import Scan, scan_pictures
from edgessd.datasets.problems import PROBLEM_KINDS, Problem
from edgessd.datasets.records import Records
from edgessd.datasets.voc import split_names


@dataclass(frozen=True)
class Checkup:
    """The result: what was read, what every picture is, and every problem, in the order of `PROBLEM_KINDS`."""

    records: Records
    scans: dict[Path, Scan]
    problems: tuple[Problem, ...]
    counts: dict[str, int]

    def of_kind(self, kind: str) -> list[Problem]:
        """Return the problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]

    def size(self, image: Path) -> tuple[int, int] | None:
        """(width, height) of a picture, None if it cannot be read."""
        return self.scans[image].size


def examine(
    records: Records,
    found: Sequence[Problem] = (),
    *,
    input_size: tuple[int, int] = (300, 300),
    whole: bool = True,
    expected: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Checkup:
    """Examine what `read_dataset` returned; `found` are the problems that it collected.

    input_size: (width, height) of the model's input, for objects too small for it. whole: all of the data
    set was read, so that pictures without an annotation can be told. expected: names of the classes
    that should occur.
    """
    scans = scan_pictures((record.image for record in records.records), threads=threads, progress=progress)
    problems = list(found)
    for record in records.records:
        scan = scans[record.image]
        if scan.size is None:
            problems.append(Problem("image", scan.error, record.image, record.image))
        elif record.size is not None and record.size != scan.size:
            stated, real = ("x".join(map(str, size)) for size in (record.size, scan.size))
            text = f"the annotation says {stated}, the picture has {real}"
            problems.append(Problem("size", text, record.source, record.image))
        if not record.objects:
            problems.append(Problem("no-objects", "no objects", record.image, record.image))
        problems += box_problems(record, scan.size, input_size, records.format == "voc")
    problems += odd_sizes(records)
    problems += _same_pictures(records, scans)
    problems += _names(records, expected)
    problems += _leaks(records)
    if whole:
        named = {record.image for record in records.records} | {p.image for p in found if p.image is not None}
        lonely = [path for path in records.pictures if path not in named]
        problems += [Problem("no-annotation", "no annotation", path, path) for path in lonely]
    order = list(PROBLEM_KINDS)
    problems.sort(key=lambda problem: order.index(problem.kind))
    counts = Counter(item.name for record in records.records for item in record.objects)
    return Checkup(records, scans, tuple(problems), dict(counts.most_common()))


def _same_pictures(records: Records, scans: dict[Path, Scan]) -> list[Problem]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for record in records.records:
        if (digest := scans[record.image].digest) and record.image not in groups[digest]:
            groups[digest].append(record.image)
    return [
        Problem("duplicate-image", f"shows the same as {first}", other, other)
        for first, *others in groups.values()
        for other in others
    ]


def _names(records: Records, expected: Sequence[str] | None) -> list[Problem]:
    counts: Counter[str] = Counter()
    first: dict[str, Problem] = {}
    for record in records.records:
        for item in record.objects:
            counts[item.name] += 1
            first.setdefault(item.name, Problem("class", "", record.source, record.image, (item.box,)))
    result = []
    for name, twin in misspelt(counts, expected).items():
        where = first[name]
        meant = f"perhaps {twin!r} ({counts[twin]} objects): --fix with --rename '{name}={twin}'" if twin else "unknown"
        text = f"class {name!r} ({counts[name]} objects): {meant}"
        result.append(Problem("class", text, where.file, where.image, where.boxes))
    return result


def _leaks(records: Records) -> list[Problem]:
    """Find pictures of a VOC folder that are in two of its splits; a split that another contains is no fault."""
    folders = {record.source.parent.parent for record in records.records} if records.format == "voc" else set()
    result = []
    for folder in sorted(folders):
        members = {}
        for split in split_names(folder):
            path = folder / "ImageSets" / "Main" / f"{split}.txt"
            members[split] = {line.split()[0] for line in read_lines(path)}
        names = sorted(members)
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                shared = members[one] & members[other]
                if shared and not (members[one] <= members[other] or members[other] <= members[one]):
                    example = min(shared)
                    text = f"{len(shared)} pictures are in both {one} and {other}, such as {example}"
                    result.append(Problem("split", text, folder / "ImageSets" / "Main" / f"{other}.txt"))
    return result
