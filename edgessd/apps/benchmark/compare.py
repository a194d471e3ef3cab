"""What changed since an older report."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from edgessd.apps.benchmark.machine import in_words
from edgessd.apps.benchmark.records import Report, Row

NOTABLE = 0.05
"""Relative change from which a figure is called better or worse; smaller ones are noise on most machines."""

Figure = Callable[[Row], float | None]

FIGURES: dict[str, tuple[Figure, bool]] = {
    "run ms": (lambda row: row.stages["run"].median if "run" in row.stages else None, True),
    "first ms": (lambda row: row.first, True),
    "peak MB": (lambda row: row.memory, True),
    "file MB": (lambda row: row.size, True),
    "accuracy": (lambda row: row.quality, False),
}
"""Name, figure, and whether less is better; beside the total, which is always shown."""


def print_comparison(console: Console, old: Report, new: Report) -> None:
    """Print what changed in every combination of both reports; then those that only one of them has."""
    before = {(row.machine, *row.key): row for row in old.rows}
    after = {(row.machine, *row.key): row for row in new.rows}
    both = [key for key in after if key in before]
    table = Table("model", "runtime", "threads", "batch", "total ms", "other changes", box=box.SIMPLE_HEAD)
    table.columns[4].no_wrap = True
    for key in both:
        then, now = before[key], after[key]
        total = _change(_total(then), _total(now), True)
        others = [
            f"{name} {_change(figure(then), figure(now), less)}"
            for name, (figure, less) in FIGURES.items()
            if _notable(figure(then), figure(now))
        ]
        if then.status != now.status:
            total = f"{then.status} -> {now.status}"
        table.add_row(
            (now.name or now.model), now.runtime, str(now.threads or "-"), str(now.batch), total, ", ".join(others)
        )
    console.print(f"changes since {old.date or 'then'}:", highlight=False)
    if both:
        console.print(table)
    else:
        console.print("no combination is in both reports: measure the same models, runtimes, threads and batches")
    for title, keys in (
        ("only now", [key for key in after if key not in before]),
        ("only then", [key for key in before if key not in after]),
    ):
        if keys:
            names = ", ".join(f"{model} {runtime} x{threads or '-'}" for _, model, runtime, threads, _ in keys)
            console.print(f"{title}: {names}", highlight=False, soft_wrap=True)
    for machine in new.machines:
        other = next((each for each in old.machines if each.name == machine.name), None)
        if other is not None and (other.processor, other.cores) != (machine.processor, machine.cores):
            console.print(f"another machine then: {in_words(other)}", highlight=False, soft_wrap=True)
        elif other is not None and other.versions != machine.versions:
            changed = sorted(
                name
                for name in {*other.versions, *machine.versions}
                if other.versions.get(name) != machine.versions.get(name)
            )
            texts = [f"{name} {other.versions.get(name, '-')} -> {machine.versions.get(name, '-')}" for name in changed]
            console.print(f"versions: {', '.join(texts)}", highlight=False, soft_wrap=True)


def _total(row: Row) -> float | None:
    return row.stages["total"].median if "total" in row.stages else None


def _notable(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is not now
    return abs(now - then) >= NOTABLE * abs(then)


def _change(then: float | None, now: float | None, less_is_better: bool) -> str:
    if then is None or now is None or then == 0:
        return f"{_text(then)} -> {_text(now)}"
    text = f"{_text(then)} -> {_text(now)} ({100 * (now / then - 1):+.0f} %)"
    if not _notable(then, now):
        return text
    return f"{text} {'better' if (now < then) == less_is_better else 'worse'}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
