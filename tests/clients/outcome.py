"""What a client's detections are held against, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgessd import Detections


class MissingError(Exception):
    """A package, program or file is not to be had here: what needs it is skipped."""


@dataclass(frozen=True)
class Limits:
    """How far a detection may be from edgessd's: pixels of a corner, or, with `iou`, overlap; score.

    slack: scores so near to a threshold decide nothing, one side may lack the detection; None is `score`.
    at: scores from which detections are compared, where the client has a threshold of its own; most: how many of a
    picture it gives.
    """

    pixels: float = 1.0
    score: float = 0.01
    iou: float | None = None
    slack: float | None = None
    at: float = 0.0
    most: int | None = None


@dataclass
class Outcome:
    """Over all pictures: detections of edgessd's that the client has, of how many; further ones of the client's.

    iou: lowest, pixels: of the corner that is farthest off, score: largest difference, all of the matched ones.
    error: in place of all that, the last line of a client that failed.
    """

    matched: int = 0
    expected: int = 0
    extra: int = 0
    iou: float = 1.0
    pixels: float = 0.0
    score: float = 0.0
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything was found and nothing else."""
        return not self.error and self.matched == self.expected > 0 and not self.extra

    def within(self, limits: Limits) -> bool:
        """Whether nothing is missing, nothing too much and nothing farther off than allowed."""
        near = self.pixels <= limits.pixels if limits.iou is None else self.iou >= limits.iou
        return self.complete and near and self.score <= limits.score


Row = tuple[str, float, float, float, float, float]
"""Name, score, x1, y1, x2, y2."""


def compare(
    ours: Sequence[Detections], theirs: Sequence[Sequence[Sequence[object]]], limits: Limits, threshold: float
) -> Outcome:
    """Match a client's detections (label or name, score, corners) to edgessd's, picture by picture.

    A detection matches one of the same class with IoU >= 0.5 that is free, the one that overlaps most. Scores
    within the slack of the file's threshold, or of the client's own, decide nothing.
    """
    outcome = Outcome()
    sure = max(limits.at, threshold) + (limits.score if limits.slack is None else limits.slack)
    for found, rows in zip(ours, theirs, strict=True):
        free = sorted((_named(row, found.classes) for row in rows), key=lambda row: -row[1])
        expected = [(each.name, each.score, *each.box) for each in found][: limits.most]
        for row in expected:
            near = [(overlap(row, other), number) for number, other in enumerate(free) if other[0] == row[0]]
            best, number = max(near, default=(0.0, -1))
            if best < 0.5 and row[1] < sure:
                continue
            outcome.expected += 1
            if best >= 0.5:
                _take(outcome, row, free.pop(number), best)
        outcome.extra += sum(row[1] >= sure for row in free)
    return outcome


def _take(outcome: Outcome, ours: Row, theirs: Row, iou: float) -> None:
    outcome.matched += 1
    outcome.iou = min(outcome.iou, iou)
    outcome.score = max(outcome.score, abs(ours[1] - theirs[1]))
    outcome.pixels = max(outcome.pixels, float(np.abs(np.subtract(ours[2:], theirs[2:])).max()))


def _named(row: Sequence[object], classes: Sequence[str]) -> Row:
    label, *rest = row
    return (classes[label] if isinstance(label, int) else label, *rest)  # type: ignore[return-value]


def overlap(first: Row, second: Row) -> float:
    """Return the IoU of the boxes."""
    a, b = np.array(first[2:], float), np.array(second[2:], float)
    common = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return common / max(areas - common, 1e-9)
