"""What can be wrong with a data set, and the one way to report it.

A reader that is given no list raises InputError at the first fault; given a list, it adds the fault
and goes on. So training and `edgessd doctor` read with the same code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgessd.errors import InputError
from edgessd.io.files import printable

PROBLEM_KINDS = {
    "annotation": "annotations that cannot be read",
    "object": "objects without a usable box or class",
    "no-image": "annotations without a picture",
    "image": "pictures that are broken or truncated",
    "size": "pictures of another size than the annotation says",
    "outside": "boxes that reach outside the picture",
    "inverted": "boxes whose corners are swapped",
    "empty": "boxes without area",
    "tiny": "boxes that are too small to be found",
    "duplicate-box": "objects labelled twice",
    "odd-size": "objects of an unusual size for their class (perhaps another class)",
    "duplicate-image": "pictures that are there more than once",
    "class": "classes that are unknown or perhaps misspelt",
    "no-objects": "pictures without objects",
    "no-annotation": "pictures without an annotation",
    "split": "pictures in more than one split",
}
"""Every kind of problem, and what it is called in a report."""


@dataclass(frozen=True)
class Problem:
    """One fault: its kind (a key of `PROBLEM_KINDS`), what is wrong, the file to mend, the picture, the boxes at fault.

    boxes: (x1, y1, x2, y2) in pixels.
    """

    kind: str
    text: str
    file: Path
    image: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = field(default=())

    def __str__(self) -> str:
        return f"{printable(self.file)}: {self.text}"


def report(problems: list[Problem] | None, problem: Problem) -> None:
    """Add the problem to the list; without a list, raise InputError with its text."""
    if problems is None:
        raise InputError(str(problem))
    problems.append(problem)
