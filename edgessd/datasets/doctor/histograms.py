"""Pictures of a data set's statistics: classes, sizes, shapes, crowding, and how priors match."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgessd.datasets.doctor.check import Checkup
from edgessd.datasets.doctor.prior_fit import MATCH, PriorReport
from edgessd.errors import missing_extra
from edgessd.io.files import atomic_write
from edgessd.spec import PriorSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#3b75af", "#ef8636", "#9a9a9a"
MOST_CLASSES = 24


def histograms(path: Path, checkup: Checkup, fit: PriorReport, priors: PriorSpec, classes: tuple[str, ...]) -> None:
    """Write one sheet of six plots to `path` (PNG), atomically."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "eval") from None
    figure = Figure(figsize=(15, 8.6), dpi=100, layout="constrained")
    axes = figure.subplots(2, 3)
    _classes(axes[0, 0], checkup)
    _sizes(axes[0, 1], fit)
    _aspects(axes[0, 2], fit)
    _crowding(axes[1, 0], checkup)
    _shapes(axes[1, 1], fit, priors)
    _matches(axes[1, 2], fit)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _classes(axis: Axes, checkup: Checkup) -> None:
    counts = list(checkup.counts.items())
    shown = counts[:MOST_CLASSES]
    if len(counts) > MOST_CLASSES:
        shown.append((f"{len(counts) - MOST_CLASSES} others", sum(count for _, count in counts[MOST_CLASSES:])))
    names = [name for name, _ in shown][::-1]
    bars = axis.barh(names, [count for _, count in shown][::-1], color=BLUE)
    axis.bar_label(bars, padding=3, fontsize=8)
    axis.tick_params(axis="y", labelsize=8 if len(shown) > 12 else 10)
    axis.set_title("objects of each class")
    axis.margins(x=0.12)


def _sizes(axis: Axes, fit: PriorReport) -> None:
    wide, tall = (fit.boxes[:, 2:] - fit.boxes[:, :2]).T
    sizes = np.clip(np.sqrt(wide * tall), 1e-3, 1)
    edges = np.geomspace(max(float(sizes.min()) * 0.95, 1e-3), 1, 41)
    axis.hist(sizes, edges.tolist(), color=BLUE)
    axis.set_xscale("log")
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if tick >= edges[0]]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("side of a square of the same area, in units of the input")
    axis.set_title("object size")


def _aspects(axis: Axes, fit: PriorReport) -> None:
    wide, tall = (fit.boxes[:, 2:] - fit.boxes[:, :2]).T
    ratios = np.clip(np.log2(wide / tall), -3, 3)
    axis.hist(ratios, np.linspace(-3, 3, 49).tolist(), color=BLUE)
    axis.set_xticks(range(-3, 4), ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axis.set_xlabel("width / height at the model's input")
    axis.set_title("aspect ratio")


def _crowding(axis: Axes, checkup: Checkup) -> None:
    counts = [len(record.objects) for record in checkup.records.records]
    most = max(counts, default=0)
    bins = np.arange(-0.5, most + 1.5) if most <= 40 else np.linspace(-0.5, most + 0.5, 41)
    axis.hist(counts, bins.tolist(), color=BLUE)
    axis.set_xlabel("objects in a picture")
    axis.set_ylabel("pictures")
    axis.set_title(f"crowding: {np.mean(counts) if counts else 0:.1f} objects a picture")


def _shapes(axis: Axes, fit: PriorReport, priors: PriorSpec) -> None:
    sides = fit.boxes[:, 2:] - fit.boxes[:, :2]
    if len(sides) > 4000:
        sides = sides[np.random.default_rng(0).choice(len(sides), 4000, replace=False)]
    axis.scatter(sides[:, 0], sides[:, 1], s=4, color=GREY, alpha=0.35, linewidths=0, label="objects")
    for spec, mark, color, label in ((priors, "s", BLUE, "model's priors"), (fit.proposal, "o", ORANGE, "k-means")):
        boxes = np.minimum(sorted({box for level in spec.levels for box in level.boxes}), 1.0)
        style: dict[str, Any] = {"s": 34, "facecolors": "none", "edgecolors": color, "linewidths": 1.6}
        axis.scatter(boxes[:, 0], boxes[:, 1], marker=mark, label=label, **style)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="width", ylabel="height")
    axis.legend(fontsize=8, loc="upper left", framealpha=0.9)
    axis.set_title("shapes, in units of the input")


def _matches(axis: Axes, fit: PriorReport) -> None:
    bins = np.linspace(0, 1, 41).tolist()
    for overlaps, color, name in ((fit.current, BLUE, "model's priors"), (fit.proposed, ORANGE, "k-means")):
        label = f"{name}: {fit.recall(overlaps):.1%} matched"
        axis.hist(overlaps, bins, histtype="step", linewidth=2, color=color, label=label)
    axis.axvline(MATCH, color="black", linewidth=1, linestyle="--")
    axis.set_xlabel("IoU of an object with its best prior (matched from 0.5)")
    axis.legend(fontsize=9, loc="upper left")
    axis.set_title("how well the priors fit")
