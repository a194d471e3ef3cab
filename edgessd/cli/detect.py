"""`edgessd detect`: pictures and videos in; a table, annotated copies, JSON and CSV out."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edgessd._signals import Stop, Stopped, stop_on_signals
from edgessd.cli import options
from edgessd.cli.annotated import AnnotatedOutput
from edgessd.cli.progress import LateProgress
from edgessd.cli.slips import refuse_live
from edgessd.detector import Detector, Frame
from edgessd.errors import EdgeSSDError, InputError, OptionError
from edgessd.io.files import check_writable, printable, write_text_atomic
from edgessd.io.sources import expand
from edgessd.io.targets import keep_sources
from edgessd.options.secrets import source_with_password

STAGES = ("read", "preprocess", "run", "postprocess")
STDOUT = Path("-")


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Pictures, URLs, folders, globs or videos.", callback=refuse_live),
    ],
    model: options.Model = None,
    runtime: options.Runtime = None,
    threads: options.Threads = None,
    spec: options.Spec = None,
    labels: options.Labels = None,
    score_threshold: options.ScoreThreshold = None,
    iou_threshold: options.IouThreshold = None,
    max_detections: options.MaxDetections = None,
    classes: options.Classes = None,
    save: Annotated[Path | None, typer.Option(help="Folder for annotated pictures and videos.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all detections to this JSON file, or -.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write one line per object to this CSV file, or -.")
    ] = None,
    timings: Annotated[bool, typer.Option(help="Print milliseconds per stage.")] = False,
) -> None:
    """Detect objects; print a table, and save annotated copies, JSON or CSV."""
    targets = [target for target in (json_file, csv_file) if target is not None and target != STDOUT]
    for target in targets:
        check_writable(target, made=save)
    if json_file == csv_file == STDOUT:
        raise OptionError("--json - and --csv - would mix on the terminal: give one of them a file")
    failures: list[EdgeSSDError] = []
    items = _expanded(sources, failures)
    keep_sources(targets, [model, spec, labels, *items])
    detector = options.load_detector(
        model, runtime, threads, spec, score_threshold, iou_threshold, max_detections, classes, labels
    )
    work = _Work(detector, AnnotatedOutput(save), failures)
    with stop_on_signals() as stop:
        work.run(items, stop)
    # Whatever ended the work, what was found is kept: the files first, because the terminal may take no more.
    if work.records or work.problem is None:
        if json_file is not None:
            work.keep(lambda: _write(json_file, json.dumps(work.document(), indent=1) + "\n"))
        if csv_file is not None:
            work.keep(lambda: _write(csv_file, _csv(work.records)))
    console = Console(markup=False, stderr=STDOUT in (json_file, csv_file))
    if work.records:
        console.print(_table(work.records))
    if timings and work.records:
        console.print(timing_table(work.records))
    for written in work.output.written:
        console.print(f"wrote {printable(written)}", highlight=False, soft_wrap=True)
    work.end()


def _write(target: Path, text: str) -> None:
    """Write a file, or to standard output, which has nothing else then."""
    if target == STDOUT:
        sys.stdout.write(text)
    else:
        write_text_atomic(target, text)


class _Work:
    """What a run has found, and what went wrong: `failures` of single inputs, `problem` that ended it."""

    def __init__(self, detector: Detector, output: AnnotatedOutput, failures: list[EdgeSSDError]) -> None:
        self.detector, self.output, self.failures = detector, output, failures
        self.records: list[dict[str, Any]] = []
        self.inputs = len(failures)
        self.problem: BaseException | None = None
        self.stopped: Stopped | None = None

    def run(self, items: list[str | Path], stop: Stop) -> None:
        """Detect until the end, a problem, or a signal, which becomes one."""
        try:
            with self.output as output, LateProgress() as progress:
                for frame, text, done, total in self._frames(items):
                    self.records.append(_record(frame))
                    output.add(frame)
                    progress.update(text, done, total)
                    stop.check()
        except Stopped as wish:
            self.problem = self.stopped = wish
        except BaseException as error:
            self.problem = error

    def _frames(self, items: list[str | Path]) -> Iterator[tuple[Frame, str, int, int | None]]:
        """Yield each frame, and for the progress: what it is one of, how many are done, and of how many."""
        for number, item in enumerate(items, 1):
            self.inputs += 1
            for frame in self.detector.stream(item, self.failures):
                if frame.video is not None:
                    text = f"frames of {printable(Path(frame.source).name)}"
                    yield frame, text, frame.number + 1, frame.video.frame_count
                else:
                    yield frame, "pictures", number, len(items)

    def keep(self, write: Callable[[], None]) -> None:
        """Write something; the first of several problems is raised in the end."""
        try:
            write()
        except EdgeSSDError as error:
            self.problem = self.problem or error

    def document(self) -> dict[str, Any]:
        """Return what goes into the JSON file; `stopped` stands there where a signal ended the work."""
        stopped = {} if self.stopped is None else {"stopped": str(self.stopped)}
        failures = [str(error) for error in self.failures]
        spec = self.detector.spec
        model = {"model": spec.name, "classes": spec.classes, "category_ids": spec.category_ids}
        return {**model, **stopped, "results": self.records, "failures": failures}

    def end(self) -> None:
        """Raise what went wrong."""
        if self.stopped is not None:
            print(f"{self.stopped} after {len(self.records)} pictures and frames, which are kept", file=sys.stderr)
            self.stopped.told = True
        if self.problem is not None:
            raise self.problem
        if len(self.failures) == 1 and not self.records:
            raise self.failures[0]
        if self.failures:
            lines = "".join(f"\n  {error}" for error in self.failures)
            raise InputError(f"{len(self.failures)} of {self.inputs} inputs failed:{lines}")


def _expanded(sources: list[str], failures: list[EdgeSSDError]) -> list[str | Path]:
    """Return all pictures and videos, before anything is written; what is none as a whole goes to `failures`."""
    items: list[str | Path] = []
    for source in sources:
        try:
            items += expand(source_with_password(source) if "@" in source else source)
        except EdgeSSDError as error:  # an empty folder, say
            failures.append(error)
    return items


def _record(frame: Frame) -> dict[str, Any]:
    place: dict[str, Any] = {"source": frame.source, "frame": frame.number}
    if frame.time is not None:
        place["time"] = round(frame.time, 4)
    return {**place, **frame.detections.to_dict(classes=False)}


def _table(records: list[dict[str, Any]]) -> Table:
    """One row per picture; a video has one row that counts its frames."""
    table = Table("source", "size", "objects", "ms", title=None)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_source.setdefault(record["source"], []).append(record)
    for source, frames in by_source.items():
        first = frames[0]
        if len(frames) == 1:
            objects = ", ".join(f"{found['name']} {found['score']:.2f}" for found in first["objects"]) or "-"
        else:
            counts: dict[str, int] = {}
            for found in (found for frame in frames for found in frame["objects"]):
                counts[found["name"]] = counts.get(found["name"], 0) + 1
            ranked = sorted(counts.items(), key=lambda pair: -pair[1])
            each = ", ".join(f"{name} {count / len(frames):.1f}" for name, count in ranked[:6]) or "-"
            objects = f"{len(frames)} frames; per frame: {each}"
        # The engine warms up in its first run, which tells nothing about the others.
        steady = [frame for frame in frames if frame is not records[0]]
        total = median(sum(frame["milliseconds"].values()) for frame in steady or frames)
        size = f"{first['width']}x{first['height']}"
        table.add_row(printable(Path(source).name), size, objects, f"{total:.1f}" + ("" if steady else " (first run)"))
    return table


def timing_table(records: list[dict[str, Any]]) -> Table:
    """Median milliseconds of each stage over all pictures but the first, in which the engine warms up."""
    steady = records[1:] or records
    table = Table("stage", "median ms" if records[1:] else "ms of the first run", title=None)
    table.columns[1].justify = "right"
    for stage in STAGES:
        values = [record["milliseconds"][stage] for record in steady if stage in record["milliseconds"]]
        if values:
            table.add_row(stage, f"{median(values):.2f}")
    return table


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "frame", "time", "name", "label", "score", "x1", "y1", "x2", "y2"])
    for record in records:
        place = [record["source"], record["frame"], record.get("time")]
        for found in record["objects"]:
            writer.writerow([*place, found["name"], found["label"], found["score"], *found["box"]])
    return text.getvalue()
