"""The pictures of an evaluation: precision and recall, confusion, kinds of error, sensitivity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgessd.errors import missing_extra
from edgessd.evaluation.errors import ERROR_KINDS, MULTIPLES, GroupCurve
from edgessd.evaluation.report import ClassResult, Evaluation
from edgessd.evaluation.sensitivity import Sensitivity
from edgessd.evaluation.voc import Curve
from edgessd.io.files import atomic_write, make_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# White, blue, red, green, purple in the paper's figure 3; here calmer, and told apart without colour vision.
COLORS = {
    "correct": "#dfe7ee",
    "localisation": "#4c86c6",
    "similar": "#e0a030",
    "other": "#7b5ea7",
    "background": "#3f4a54",
}
BLUE, RED, GREY = "#2f6fb0", "#c8372d", "#8a8a8a"
MOST_CONFUSED = 20
MOST_SENSITIVE = 12
SHEETS = ("precision_recall.png", "confusion.png", "errors.png", "sensitivity.png")


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write all sheets as PNG into `folder`, which is made; return their paths. Sheets without content are left out."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib", "eval") from None
    make_folder(folder)
    draw = (precision_recall_sheet, confusion_sheet, error_sheet, sensitivity_sheet)
    written = []
    for name, figure in zip(SHEETS, [each(evaluation) for each in draw], strict=True):
        if figure is None:
            continue
        with atomic_write(folder / name) as temporary:
            figure.savefig(temporary)
        written.append(folder / name)
    return written


def precision_recall_sheet(evaluation: Evaluation) -> Figure | None:
    """One small plot for each class with objects; the dot is the best F1."""
    from matplotlib.figure import Figure

    shown = [(each, curve) for each, curve in zip(evaluation.classes, evaluation.curves, strict=True) if each.objects]
    if not shown:
        return None
    columns = min(len(shown), 3 if len(shown) <= 9 else 5 if len(shown) <= 30 else 10)
    rows = -(-len(shown) // columns)
    side = 3.3 if columns <= 3 else 2.4 if columns == 5 else 1.75
    figure = Figure(figsize=(columns * side, rows * side + 0.7), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for place, (axis, (each, curve)) in enumerate(zip(axes.flat, shown, strict=False)):
        axis.set_visible(True)
        _draw_curve(axis, each, curve, small=columns == 10)
        axis.tick_params(labelbottom=place + columns >= len(shown))
        if place + columns >= len(shown):
            axis.set_xlabel("recall")
        if place % columns == 0:
            axis.set_ylabel("precision")
    figure.suptitle(f"Precision and recall at IoU 0.5 (dot: score with the best F1) - {_headline(evaluation)}")
    return figure


def _draw_curve(axis: Axes, each: ClassResult, curve: Curve, *, small: bool) -> None:
    recall, precision = curve.recall, curve.precision
    # Only the ends of runs of wrong detections: thousands of points between them are one line.
    turning = curve.true.copy()
    turning[:-1] |= curve.true[1:]
    turning[-1:] = True
    recall = np.concatenate([[0.0], recall[turning]])
    precision = np.concatenate([precision[:1], precision[turning]]) if len(precision) else np.zeros(1)
    axis.plot(recall, precision, color="#c3cbd3", linewidth=1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    axis.step(recall, envelope, where="pre", color=BLUE, linewidth=1.6)
    if each.best is not None:
        score, best_precision, best_recall, _ = each.best
        axis.plot(best_recall, best_precision, "o", color=RED, markersize=4 if small else 6)
        if not small:
            beside = best_recall > 0.6
            axis.annotate(
                f"score {score:.2f}",
                (best_recall, best_precision),
                xytext=(-7 if beside else 7, 5 if best_precision < 0.15 else -12),
                textcoords="offset points",
                ha="right" if beside else "left",
                fontsize=8,
                color=RED,
            )
    axis.set(xlim=(0, 1.02), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axis.grid(color="#eeeeee")
    axis.set_axisbelow(True)
    title = f"{each.name} {each.ap:.0f}" if small else f"{each.name}: AP {each.ap:.1f}, {each.objects} objects"
    axis.set_title(title, fontsize=8 if small else 10)
    axis.tick_params(labelsize=7 if small else 9)


def confusion_sheet(evaluation: Evaluation) -> Figure | None:
    """What was there (rows) against what was said (columns), in percent of each row; rows sum to 100."""
    from matplotlib.figure import Figure

    table = evaluation.confusion
    chosen = _most_confused(evaluation)
    if not chosen:
        return None
    names = [evaluation.names[label] for label in chosen]
    picked = [*chosen, len(table) - 1]
    part = table[np.ix_(picked, picked)]
    rest = table[picked, :].sum(axis=1) - part.sum(axis=1)
    cut = len(chosen) < len([each for each in evaluation.classes if each.objects])
    columns = [*names, "missed"]
    if cut:  # one column for all classes that are not shown, before "missed"
        part = np.concatenate([part[:, :-1], rest[:, None], part[:, -1:]], axis=1)
        columns.insert(-1, "other classes")
    totals = part.sum(axis=1, keepdims=True)
    shares = 100 * part / np.maximum(totals, 1)
    side = max(4.5, 0.48 * len(columns) + 2.2)
    figure = Figure(figsize=(side + 0.8, side), dpi=100, layout="constrained")
    axis = figure.subplots()
    # The diagonal in blue, mistakes in red: both are dark where they are many.
    right = np.eye(len(part), part.shape[1], dtype=bool)
    right[-1] = False
    axis.imshow(np.where(right, shares, np.nan), cmap="Blues", vmin=0, vmax=110)
    axis.imshow(np.where(right, np.nan, shares), cmap="Reds", vmin=0, vmax=80)
    for row, column in zip(*np.nonzero(part), strict=True):
        share = shares[row, column]
        color = "white" if share > (60 if right[row, column] else 45) else "#222222"
        axis.text(
            column, row, f"{share:.0f}" if share >= 0.5 else "<1", ha="center", va="center", color=color, fontsize=8
        )
    axis.set_xticks(range(len(columns)), columns, rotation=90 if len(columns) > 8 else 30, ha="center")
    axis.set_yticks(
        range(len(part)),
        [f"{name} ({total})" for name, total in zip([*names, "nothing there"], totals[:, 0], strict=True)],
    )
    axis.tick_params(length=0)
    axis.axhline(len(part) - 1.5, color="white", linewidth=3)
    axis.axvline(part.shape[1] - 1.5, color="white", linewidth=3)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_ylabel("what is there (objects; last row: wrong detections)")
    axis.set_xlabel("what was said")
    what = f"the {len(chosen)} classes most often confused" if cut else "each class at the score of its best F1"
    axis.set_title(f"Confusion at IoU 0.5, % of the row\n{what}", fontsize=11)
    return figure


def _most_confused(evaluation: Evaluation) -> list[int]:
    table = evaluation.confusion[:-1, :-1]
    present = [label for label, each in enumerate(evaluation.classes) if each.objects]
    if len(present) <= MOST_CONFUSED:
        return present
    mistakes = table - np.diag(np.diag(table))
    involved = mistakes.sum(axis=0) + mistakes.sum(axis=1)
    return sorted(sorted(present, key=lambda label: -int(involved[label]))[:MOST_CONFUSED])


def error_sheet(evaluation: Evaluation) -> Figure | None:
    """The paper's figure 3: a column for each group; above shares by number of detections, below kinds of error."""
    from matplotlib.figure import Figure

    curves = evaluation.groups
    # A group of one class shows nothing that the table does not; a group of all is shown once.
    curves = [curve for place, curve in enumerate(curves) if not place or curve.classes != curves[0].classes]
    if not curves:
        return None
    figure = Figure(figsize=(max(7.5, 4.3 * len(curves)), 8.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False)
    for column, curve in enumerate(curves):
        _draw_shares(axes[0, column], curve)
        _draw_wrong_shares(axes[1, column], curve)
    wide = len(curves) > 2
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7 if wide else 4, frameon=False)
    figure.suptitle(
        f"Kinds of error (Hoiem et al. 2012){': ' if wide else chr(10)}above the mean over a group's classes, "
        "below all wrong detections of the group",
        fontsize=12 if wide else 10,
    )
    return figure


def _draw_shares(axis: Axes, curve: GroupCurve) -> None:
    x = np.log2(MULTIPLES)
    axis.stackplot(
        x, 100 * curve.shares, labels=ERROR_KINDS, colors=[COLORS[kind] for kind in ERROR_KINDS], linewidth=0
    )
    axis.plot(x, 100 * curve.recall, color=RED, linewidth=2.2, label="recall (IoU 0.5)")
    axis.plot(x, 100 * curve.weak_recall, color=RED, linewidth=1.8, linestyle="--", label="recall (IoU 0.1)")
    axis.set(xlim=(-3, 3), ylim=(0, 100), ylabel="% of detections", xlabel="detections per object")
    axis.set_xticks(range(-3, 4), ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    many = f"{len(curve.classes)} classes" if len(curve.classes) > 1 else curve.classes[0]
    axis.set_title(f"{curve.name} ({many}, {curve.objects} objects)")


def _draw_wrong_shares(axis: Axes, curve: GroupCurve) -> None:
    if len(curve.wrong_counts) < 2:
        axis.text(0.5, 0.5, "no wrong detections", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    axis.stackplot(
        curve.wrong_counts, 100 * curve.wrong, colors=[COLORS[kind] for kind in ERROR_KINDS[1:]], linewidth=0
    )
    axis.set_xscale("log", base=10)
    # The first few are single detections: a zigzag that says nothing.
    low = min(10, int(curve.wrong_counts[-2]))
    axis.set(xlim=(low, int(curve.wrong_counts[-1])), ylim=(0, 100))
    axis.set(xlabel="wrong detections, best score first", ylabel="% of wrong detections")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def sensitivity_sheet(evaluation: Evaluation) -> Figure | None:
    """The paper's figure 4: normalised AP by object size and aspect ratio, for the classes with most objects."""
    from matplotlib.figure import Figure

    every = evaluation.sensitivity
    if not every:
        return None
    most = {each.name for each in sorted(every, key=lambda each: -each.objects)[:MOST_SENSITIVE]}
    shown = [each for each in every if each.name in most]
    figure = Figure(figsize=(max(7.0, 1.25 * len(shown) + 2.5), 7.6), dpi=100, layout="constrained")
    axes = figure.subplots(2, 1)
    _draw_bins(
        axes[0],
        shown,
        "sizes",
        "object size: extra small, small, medium, large, extra large (10/20/40/20/10 % of a class)",
    )
    _draw_bins(axes[1], shown, "aspects", "aspect ratio: extra tall, tall, medium, wide, extra wide")
    cut = f", the {len(shown)} classes with most objects" if len(shown) < len(every) else ""
    figure.suptitle(f"Sensitivity: normalised AP at IoU 0.5 (dashed: all objects of the class){cut}")
    return figure


def _draw_bins(axis: Axes, shown: list[Sensitivity], field: str, title: str) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white")]  # numbers stay readable on the lines
    for place, each in enumerate(shown):
        bins = getattr(each, field)
        x = place * 6 + np.arange(len(bins))
        y = [one.ap for one in bins]
        axis.plot([x[0] - 0.4, x[-1] + 0.4], [each.ap, each.ap], color=GREY, linewidth=1, linestyle="--")
        axis.plot(x, y, color=BLUE, linewidth=1.4, marker="o", markersize=5)
        for px, one in zip(x, bins, strict=True):
            if not math.isnan(one.ap):
                above = one.ap < 0.9
                axis.annotate(
                    f"{100 * one.ap:.0f}",
                    (px, one.ap),
                    xytext=(0, 6 if above else -13),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                    path_effects=halo,
                )
    names = [one.name for each in shown for one in getattr(each, field)]
    ticks = [place * 6 + number for place, each in enumerate(shown) for number in range(len(getattr(each, field)))]
    axis.set_xticks(ticks, names, fontsize=7.5)
    for place, each in enumerate(shown):
        axis.text(
            place * 6 + 2,
            -0.13,
            f"{each.name} ({each.objects})",
            ha="center",
            va="top",
            transform=axis.get_xaxis_transform(),
        )
    axis.set(ylim=(0, 1.08), xlim=(-1, len(shown) * 6 - 1))
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title, fontsize=10)


def _headline(evaluation: Evaluation) -> str:
    name, value = next(iter(evaluation.figures.items()))
    what = {"voc07": "VOC07 ", "voc": "VOC area ", "coco": "COCO "}[evaluation.metric]
    return f"{what}{name} {value:.1f}"
