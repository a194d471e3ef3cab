"""What a run tells: a line an epoch in `log.csv`, TensorBoard where it is installed, and `curves.png`."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgessd.io.files import atomic_write, write_text_atomic

Row = Mapping[str, float | None]


def write_csv(path: Path, history: Sequence[Row]) -> None:
    """Write the rows, one an epoch, atomically; all of them each time, so that a resumed run leaves no double rows."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else f"{value:.6g}" for name, value in row.items()} for row in history)
    write_text_atomic(path, text.getvalue())


class Board:
    """TensorBoard's event files, or nothing where it is not installed."""

    def __init__(self, folder: Path, start: int) -> None:
        self._writer: Any = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from torch.utils.tensorboard import SummaryWriter

                # Events from `start` on were written by a run that went no further: they are dropped.
                self._writer = SummaryWriter(str(folder), purge_step=start or None)
        except ImportError:
            return

    def add(self, step: int, values: Row) -> None:
        """Write values at a step."""
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def draw_curves(path: Path, history: Sequence[Row], metric: str) -> None:
    """Draw losses, metric and learning rate over the epochs; nothing where matplotlib is not installed."""
    if not history:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    for name, label in (
        ("loss", "total"),
        ("loss_classes", "classes"),
        ("loss_boxes", "boxes"),
        ("loss_distill", "teacher"),
    ):
        _line(left, history, name, label)
    left.set_title("training loss")
    left.set_ylim(bottom=0)
    per_class = [name for name in history[-1] if name.startswith("AP/")]
    if 1 < len(per_class) <= 10:
        for name in per_class:
            _line(middle, history, name, name[3:], scale=100, linewidth=0.9, alpha=0.55)
    _line(middle, history, metric, "mean", scale=100, color="black", linewidth=2)
    middle.set_title(f"{'VOC07 11-point' if metric == 'mAP_voc07' else 'area'} AP@0.5 on the evaluation split, %")
    _line(right, history, "lr", "learning rate")
    right.set_title("learning rate")
    for axes in (left, middle, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0] and axes is not right:
            axes.legend(fontsize=8, frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _line(axes: Any, history: Sequence[Row], name: str, label: str, scale: float = 1.0, **style: Any) -> None:
    points = [(row["epoch"], value * scale) for row in history if (value := row.get(name)) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 40 else None, **style)
