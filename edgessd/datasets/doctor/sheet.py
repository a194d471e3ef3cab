"""One picture of the pictures at fault: the boxes in question in red, the others in grey."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.datasets.doctor.check import Checkup
from edgessd.datasets.problems import Problem
from edgessd.draw.text import put_text, text_width
from edgessd.errors import InputError
from edgessd.io.files import printable
from edgessd.io.images import load_image

TILE, CAPTION, GAP = 360, 46, 10
RED, GREY, INK, PAPER = (40, 30, 230), (190, 190, 190), (40, 40, 40), (255, 255, 255)

# Nothing to see in these, or the same to see as elsewhere: they come last.
_DULL = ("no-objects", "no-annotation", "tiny")


def problem_sheet(checkup: Checkup, limit: int = 24) -> NDArray[np.uint8] | None:
    """Draw up to `limit` problems, [H, W, 3] BGR, as many kinds as there are; None when there is nothing to show."""
    chosen = choose(checkup.problems, limit)
    if not chosen:
        return None
    boxes = {record.image: [item.box for item in record.objects] for record in checkup.records.records}
    return grid([_tile(problem, boxes.get(problem.image or Path(), [])) for problem in chosen])


def choose(problems: Sequence[Problem], limit: int) -> list[Problem]:
    """Choose problems with a picture: one of each kind in turn, dull kinds last."""
    by_kind: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        if problem.image is not None:
            by_kind[problem.kind].append(problem)
    kinds = sorted(by_kind, key=lambda kind: kind in _DULL)
    turns = [by_kind[kind][turn] for turn in range(limit) for kind in kinds if turn < len(by_kind[kind])][:limit]
    return sorted(turns, key=lambda problem: kinds.index(problem.kind))


def grid(tiles: Sequence[NDArray[np.uint8]], columns: int = 4) -> NDArray[np.uint8]:
    """Lay tiles of one size out in rows, with gaps, on white."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    tall, wide = tiles[0].shape[:2]
    sheet = np.full((rows * (tall + GAP) + GAP, columns * (wide + GAP) + GAP, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        y, x = GAP + place // columns * (tall + GAP), GAP + place % columns * (wide + GAP)
        sheet[y : y + tall, x : x + wide] = tile
    return sheet


def _tile(problem: Problem, boxes: Sequence[tuple[float, float, float, float]]) -> NDArray[np.uint8]:
    tile = np.full((TILE * 3 // 4 + CAPTION, TILE, 3), 255, np.uint8)
    area = tile[: TILE * 3 // 4]
    area[:] = (232, 232, 232)
    try:
        image = load_image(problem.image)
    except InputError:
        put_text(area, "cannot be read", TILE // 2 - text_width("cannot be read", 18) // 2, TILE * 3 // 8, 18, INK)
    else:
        _draw(area, image, boxes, problem)
    stem = (problem.image or problem.file).name
    put_text(tile, _fit(f"{problem.kind}: {stem}", 15), 2, TILE * 3 // 4 + 18, 15, INK)
    put_text(tile, _fit(printable(problem.text), 13), 2, TILE * 3 // 4 + 38, 13, (90, 90, 90))
    return tile


def _draw(
    area: NDArray[np.uint8],
    image: NDArray[np.uint8],
    boxes: Sequence[tuple[float, float, float, float]],
    problem: Problem,
) -> None:
    """Put the picture into `area`, smaller where boxes reach outside, so that they are seen."""
    tall, wide = area.shape[:2]
    height, width = image.shape[:2]
    faulty = np.array(problem.boxes, np.float64).reshape(-1, 4)
    # A box may lie anywhere; what is more than half a picture away is cut off.
    low = np.maximum(np.minimum([0, 0], faulty[:, :2].min(axis=0, initial=0)), [-width / 2, -height / 2])
    reach = np.maximum(faulty[:, 2:].max(axis=0, initial=0), [width, height])
    high = np.minimum(reach, [1.5 * width, 1.5 * height])
    scale = float(min(np.array([wide - 4, tall - 4]) / (high - low)))
    shift = (np.array([wide, tall]) - (high - low) * scale) / 2 - low * scale
    x, y = (round(float(value)) for value in shift)
    small = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    piece = small[: tall - y, : wide - x]
    area[y : y + piece.shape[0], x : x + piece.shape[1]] = piece

    def corner(px: float, py: float) -> tuple[int, int]:
        limit = 10_000.0
        return (
            round(float(np.clip(px * scale + shift[0], -limit, limit))),
            round(float(np.clip(py * scale + shift[1], -limit, limit))),
        )

    for x1, y1, x2, y2 in boxes:
        cv2.rectangle(area, corner(x1, y1), corner(x2, y2), GREY, 1, cv2.LINE_AA)
    for x1, y1, x2, y2 in faulty:
        cv2.rectangle(area, corner(x1, y1), corner(x2, y2), RED, 2, cv2.LINE_AA)
        if min(abs(x2 - x1), abs(y2 - y1)) * scale < 12:  # too small to be seen: point at it
            cv2.circle(area, corner((x1 + x2) / 2, (y1 + y2) / 2), 16, RED, 2, cv2.LINE_AA)


def _fit(text: str, size: int) -> str:
    """Cut the middle of a text out until it fits below a tile."""
    if text_width(text, size) <= TILE - 4:
        return text
    keep = len(text)
    while (
        keep > 4 and text_width(shorter := f"{text[: keep * 2 // 3]}..{text[len(text) - keep // 3 :]}", size) > TILE - 4
    ):
        keep -= 1
    return shorter
