"""The picture of a report: accuracy against time, or, where no accuracy was measured, bars of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgessd.apps.benchmark.records import HERE, Report, Row
from edgessd.errors import InputError, missing_extra
from edgessd.io.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of engines, told apart without colour vision; markers of models, wide enough to hold a number.
COLORS = ("#2f6fb0", "#e0a030", "#7b5ea7", "#3f9a6a", "#c8372d", "#5f6b76")
MARKERS = "osDphH8^"
STAGE_COLORS = {"preprocess": "#e0a030", "run": "#4c86c6", "postprocess": "#7b5ea7"}
MOST_BARS = 60


def write_plot(report: Report, path: Path) -> None:
    """Write the picture as PNG, atomically. Raises InputError where nothing was measured."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib", "eval") from None
    figure = accuracy_sheet(report) or stage_sheet(report)
    if figure is None:
        raise InputError("no combination was measured: there is nothing to plot")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def accuracy_sheet(report: Report) -> Figure | None:
    """One point for each combination with both figures; the grey line joins those that nothing beats in both."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if "total" in row.stages and row.quality is not None and row.batch == 1]
    if not rows:
        return None
    name = next(iter(rows[0].accuracy))
    rows = [row for row in rows if next(iter(row.accuracy)) == name]
    figure = Figure(figsize=(9.5, 6.2), dpi=110, layout="constrained")
    axis = figure.subplots()
    models = list(dict.fromkeys(row.name or row.model for row in rows))
    engines = list(dict.fromkeys(_engine(row) for row in rows))
    times = [row.stages["total"].median for row in rows]
    best = _front(rows)
    axis.step(
        [row.stages["total"].median for row in best] + [max(times) * 1.5],
        [row.quality or 0.0 for row in best] + [best[-1].quality or 0.0],
        where="post",
        color="#c3cbd3",
        linewidth=1.5,
        zorder=1,
    )
    for row in rows:
        axis.plot(
            row.stages["total"].median,
            row.quality or 0.0,
            MARKERS[models.index(row.name or row.model) % len(MARKERS)],
            color=COLORS[engines.index(_engine(row)) % len(COLORS)],
            markersize=12,
            markeredgecolor="white",
            zorder=3,
        )
    numbered = _number_threads(axis, rows)
    axis.set_xscale("log")
    axis.set_xlim(min(times) * 0.75, max(times) * 1.35)
    low, high = min(row.quality or 0.0 for row in rows), max(row.quality or 0.0 for row in rows)
    margin = max(0.25 * (high - low), 0.02 * high, 0.5)
    axis.set_ylim(low - margin, high + margin)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    digits = "235" if max(times) > 6 * min(times) else "2345678"  # of the small ticks that have a number
    axis.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in digits else "")
    axis.tick_params(which="minor", labelsize=8)
    axis.grid(which="both", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set(xlabel="ms for one picture, from pixels to detections (median, log scale)", ylabel=f"{name}, %")
    axis.set_title(_title(report), loc="left", fontsize=10)
    for place, model in enumerate(models):
        axis.plot([], [], MARKERS[place % len(MARKERS)], color="#5f6b76", label=model, linestyle="none")
    for place, engine in enumerate(engines):
        axis.plot([], [], "s", color=COLORS[place % len(COLORS)], label=engine, linestyle="none", markersize=10)
    title = "number in a point:\nthreads\n" if numbered else None
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, title=title)
    return figure


def _number_threads(axis: Axes, rows: list[Row]) -> bool:
    """Write the number of threads into each point, where there is more than one number; return whether it did."""
    if len({row.threads for row in rows}) < 2:
        return False
    for row in rows:
        place = (row.stages["total"].median, row.quality or 0.0)
        axis.text(*place, str(row.threads or ""), ha="center", va="center", fontsize=7, color="white", zorder=4)
    return True


def stage_sheet(report: Report) -> Figure | None:
    """Bars of preprocess, run and postprocess for each combination, in the order of the table."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if "total" in row.stages][:MOST_BARS]
    if not rows:
        return None
    figure = Figure(figsize=(9.5, 0.36 * len(rows) + 2.0), dpi=110, layout="constrained")
    axis = figure.subplots()
    places = range(len(rows))
    left = [0.0] * len(rows)
    for stage, color in STAGE_COLORS.items():
        widths = [row.stages[stage].median if stage in row.stages else 0.0 for row in rows]  # a phone tells only run
        axis.barh(places, widths, left=left, color=color, label=stage, height=0.7)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, end in zip(places, left, strict=True):
        axis.text(end, place, f" {end:.1f}", va="center", fontsize=8)
    axis.set_yticks(places, [_name(row) for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, max(left) * 1.1)
    axis.set_xlabel("ms for one picture (medians)")
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(_title(report), loc="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _front(rows: list[Row]) -> list[Row]:
    """Rows that are better than every faster one, fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda each: (each.stages["total"].median, -(each.quality or 0.0))):
        if not front or (row.quality or 0.0) > (front[-1].quality or 0.0):
            front.append(row)
    return front


def _title(report: Report) -> str:
    names = [f"{each.board or each.processor} ({each.cores} cores)" for each in report.machines]
    data = report.settings.get("data")
    return "; ".join(names) + (f"\naccuracy on {data}" if data else "")


def _engine(row: Row) -> str:
    return row.runtime if row.machine == HERE else f"{row.runtime} on {row.machine}"


def _name(row: Row) -> str:
    threads = "" if row.threads is None else f", {row.threads} thr."
    batch = "" if row.batch == 1 else f", batch {row.batch}"
    return f"{row.name or row.model} - {_engine(row)}{threads}{batch}"
