"""A report as text: a table for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from edgessd.apps.benchmark.machine import in_words
from edgessd.apps.benchmark.records import HERE, NOTES, PAPER, STAGES, Report, Row

STATUS = {"failed": "failed", "absent": "not present", "ok": ""}


class Column(NamedTuple):
    """A heading, and the text of a row's cell. key: one of those that say which combination it is."""

    heading: str
    cell: Callable[[Row], str]
    key: bool = False


def columns(report: Report) -> list[Column]:
    """Return the columns of the table, without those that no row fills."""
    rows = report.rows
    key = [
        Column("machine", lambda row: row.machine, True),
        Column("model", lambda row: row.name or row.model, True),
        Column("type", lambda row: row.precision, True),
        Column("runtime", lambda row: row.runtime, True),
        Column("threads", lambda row: "" if row.threads is None else str(row.threads), True),
        Column("batch", lambda row: str(row.batch), True),
    ]
    if all(row.machine == HERE for row in rows):
        key = key[1:]
    if all(row.batch == 1 for row in rows):
        key = key[:-1]
    times = [Column("total", _total)]
    times += [Column(_HEADINGS[stage], _stage(stage, "median")) for stage in STAGES[1:-1]]
    times.append(Column("img/s", lambda row: _number(row.rate, 1)))
    names = dict.fromkeys(name for row in rows for name in row.accuracy)
    quality = [Column(name, _accuracy(name)) for name in list(names)[:2]]
    rest = [
        Column("p90", _stage("total", "p90")),
        Column("p99", _stage("total", "p99")),
        Column("decode", _stage("decode", "median")),
        Column("first", lambda row: _number(row.first, 0)),
        Column("load", lambda row: _number(row.load, 0)),
        Column("peak MB", lambda row: _number(row.memory, 0)),
        Column("+MB", lambda row: _number(row.memory_model, 0)),
        Column("file MB", lambda row: _number(row.size, 1)),
        Column("input", lambda row: row.input),
        Column("boxes", lambda row: "" if row.boxes is None else f"{row.boxes:,}"),
        Column("deg C", lambda row: _number(row.after.temperature if row.after else None, 0)),
        Column("MHz", lambda row: _number(row.after.clock if row.after else None, 0)),
    ]
    return [each for each in (*key, *times, *quality, *rest) if any(each.cell(row) for row in rows)]


def print_report(console: Console, report: Report) -> None:
    """Print the table, in several parts where the terminal is narrow, then notes, reasons and machines."""
    notes: dict[str, int] = {}
    marks = {id(row): _marks(row, notes) for row in report.rows}
    shown = columns(report)
    same = [each for each in shown if each.heading in ("model", "type") and len(_texts(each, report.rows)) == 1]
    if same:
        console.print(", ".join(_texts(each, report.rows)[0] for each in same), style="bold", highlight=False)
    if any(marks.values()):
        place = next((place for place, each in enumerate(shown, 1) if each.heading == "total"), len(shown))
        shown.insert(place, Column("note", lambda row: marks[id(row)]))
    hidden = _NOT_ON_SCREEN if all(row.machine != PAPER for row in report.rows) else ()
    shown = [each for each in shown if each not in same and each.heading not in hidden]
    if any(row.machine == PAPER for row in report.rows):
        shown = [each for each in shown if each.key or each.heading in _OF_THE_PAPER]
    for part in _parts(shown, report.rows, console.width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for each in part:
            table.add_column(each.heading, justify="left" if each.heading in _TEXTS else "right", no_wrap=True)
        for row in report.rows:
            if any(each.cell(row) for each in part if not each.key):
                style = {"failed": "red", "absent": "dim"}.get(row.status)
                table.add_row(*(each.cell(row) for each in part), style=style)
        console.print(table)
    words = {note.partition(":")[0] for row in report.rows for note in row.notes}
    meanings = [f"{word}: {meaning}" for word, meaning in NOTES.items() if word in words]
    for line in (EXPLANATION, *meanings, *(f"{number}: {text}" for text, number in notes.items())):
        console.print(line, highlight=False, soft_wrap=True)
    for machine in report.machines:
        console.print(f"{machine.name}: {in_words(machine)}", highlight=False, soft_wrap=True)
    if report.settings:
        console.print(_settings(report), highlight=False, soft_wrap=True)


EXPLANATION = (
    "milliseconds for one picture (median; total = pre + run + post, from pixels to detections); "
    "first: the first inference; load: from file to ready; +MB: what the model added to the process"
)


def to_markdown(report: Report) -> str:
    """Return the table, notes and machines as Markdown."""
    shown = columns(report)
    lines = [
        "| " + " | ".join([each.heading for each in shown] + ["note"]) + " |",
        "|" + "|".join([*("---" if each.heading in _TEXTS else "---:" for each in shown), "---"]) + "|",
    ]
    for row in report.rows:
        note = "; ".join([*([row.reason] if row.reason else []), *row.notes])
        cells = [each.cell(row) for each in shown]
        lines.append("| " + " | ".join(text.replace("|", "\\|") for text in [*cells, note]) + " |")
    lines += ["", EXPLANATION[0].upper() + EXPLANATION[1:] + ".", ""]
    lines += [f"- {machine.name}: {in_words(machine)}" for machine in report.machines]
    if report.settings:
        lines.append(f"- {_settings(report)}")
    return "\n".join(lines) + "\n"


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a column for each key, in the order in which the keys come up; what a row lacks is empty."""
    headings = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for row in rows:
        cells = (str(row.get(key, "")).replace("|", "\\|") for key in headings)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def to_csv(report: Report) -> str:
    """Return one line for each row with every figure there is."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in report.rows for name in row.accuracy))
    plain = (
        "machine", "name", "model", "precision", "runtime", "engine", "threads", "batch", "status", "reason", "runs",
        "rate", "first", "load", "memory", "memory_model", "size", "input", "boxes",
    )  # fmt: skip
    figures = [(stage, figure) for stage in STAGES for figure in ("median", "p90", "p99")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*plain, *(f"{stage}_{figure}" for stage, figure in figures), *names, "temperature", "clock", "notes"]
    )
    for row in report.rows:
        cells = ["" if getattr(row, name) is None else getattr(row, name) for name in plain]
        cells += [getattr(row.stages[stage], figure) if stage in row.stages else "" for stage, figure in figures]
        cells += [row.accuracy.get(name, "") for name in names]
        cells += ["" if row.after is None else getattr(row.after, name) or "" for name in ("temperature", "clock")]
        writer.writerow([*cells, "; ".join(row.notes)])
    return text.getvalue()


_TEXTS = ("machine", "model", "type", "runtime", "note")
_OF_THE_PAPER = ("img/s", "total", "VOC07 mAP", "AP", "mAP", "boxes", "input", "note")
_NOT_ON_SCREEN = ("input", "boxes", "decode", "MHz")
_HEADINGS = {"preprocess": "pre", "run": "run", "postprocess": "post"}


def _texts(column: Column, rows: Sequence[Row]) -> list[str]:
    """The different texts of a column, without empty ones."""
    return list(dict.fromkeys(text for row in rows if (text := column.cell(row))))


def _settings(report: Report) -> str:
    return "measured " + report.date + ": " + ", ".join(f"{name} {value}" for name, value in report.settings.items())


def _total(row: Row) -> str:
    return _stage("total", "median")(row) or STATUS[row.status]


def _stage(stage: str, figure: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return _number(getattr(row.stages[stage], figure)) if stage in row.stages else ""

    return cell


def _accuracy(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row.accuracy[name]:.1f}" if name in row.accuracy else ""


def _number(value: float | None, digits: int | None = None) -> str:
    if value is None:
        return ""
    if digits is None:
        digits = 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def _marks(row: Row, notes: dict[str, int]) -> str:
    """Words for what `NOTES` explains; for anything else the number of a line below the table."""
    marks = []
    for text in [*([row.reason] if row.reason else []), *row.notes]:
        word = text.partition(":")[0]
        marks.append(word if word in NOTES else str(notes.setdefault(text, len(notes) + 1)))
    return ", ".join(marks)


def _parts(shown: Sequence[Column], rows: Sequence[Row], width: int) -> list[list[Column]]:
    """Spread the columns over as many tables as the width needs; each begins with the key columns."""

    def needed(column: Column) -> int:
        return max([len(column.heading), *(len(column.cell(row)) for row in rows)]) + 2

    keys = [column for column in shown if column.key]
    start = sum(map(needed, keys))
    parts: list[list[Column]] = [list(keys)]
    used = start
    for column in shown:
        if column.key:
            continue
        if used + needed(column) > width and len(parts[-1]) > len(keys):
            parts.append(list(keys))
            used = start
        parts[-1].append(column)
        used += needed(column)
    return parts
