"""A picture of the priors: for each level, all boxes of the cell in the middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgessd._cv2 import cv2
from edgessd.draw.detections import class_color
from edgessd.spec import PriorLevel, PriorSpec

PANEL = 320
MARGIN = 24


def draw_priors(spec: PriorSpec) -> NDArray[np.uint8]:
    """Return a sheet [H, W, 3] BGR with one panel a level: grid, the input's border, the boxes of the middle cell."""
    columns = min(3, len(spec.levels))
    panels = [_panel(number, level) for number, level in enumerate(spec.levels, 1)]
    while len(panels) % columns:
        panels.append(np.full_like(panels[0], 255))
    rows = [np.concatenate(panels[start : start + columns], axis=1) for start in range(0, len(panels), columns)]
    return np.concatenate(rows)


def _panel(number: int, level: PriorLevel) -> NDArray[np.uint8]:
    # The scale leaves room around the input for boxes that cross its border.
    side = PANEL - 2 * MARGIN
    step_x, step_y = level.step or (1 / level.columns, 1 / level.rows)
    center_x, center_y = (level.columns // 2 + 0.5) * step_x, (level.rows // 2 + 0.5) * step_y
    reach = max(
        0.5,
        *(
            abs(c - 0.5) + length / 2
            for box in level.boxes
            for c, length in zip((center_x, center_y), box, strict=True)
        ),
    )
    scale = side / (2 * reach)
    panel = np.full((PANEL + MARGIN, PANEL, 3), 255, np.uint8)

    def point(x: float, y: float) -> tuple[int, int]:
        return round(PANEL / 2 + (x - 0.5) * scale), round(MARGIN + PANEL / 2 + (y - 0.5) * scale)

    cv2.rectangle(panel, point(0, 0), point(1, 1), (246, 244, 240), -1)
    if step_x * scale > 5:
        for column in range(level.columns + 1):
            cv2.line(panel, point(column * step_x, 0), point(column * step_x, 1), (225, 222, 215), 1)
        for row in range(level.rows + 1):
            cv2.line(panel, point(0, row * step_y), point(1, row * step_y), (225, 222, 215), 1)
    cv2.rectangle(panel, point(0, 0), point(1, 1), (120, 120, 120), 1)
    for index, (width, height) in enumerate(level.boxes):
        low = point(center_x - width / 2, center_y - height / 2)
        high = point(center_x + width / 2, center_y + height / 2)
        cv2.rectangle(panel, low, high, class_color(index), 2, cv2.LINE_AA)
    cv2.circle(panel, point(center_x, center_y), 3, (40, 40, 40), -1, cv2.LINE_AA)
    title = f"level {number}: {level.columns}x{level.rows}, {len(level.boxes)} boxes a cell"
    cv2.putText(panel, title, (10, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (40, 40, 40), 1, cv2.LINE_AA)
    return panel
