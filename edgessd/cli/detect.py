"""`edgessd detect`: pictures and videos in; a table, annotated copies, JSON and CSV out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edgessd.cli import options
from edgessd.cli.annotated import AnnotatedOutput
from edgessd.cli.slips import refuse_live
from edgessd.detector import Frame
from edgessd.errors import EdgeSSDError, InputError
from edgessd.io.files import write_bytes_atomic, write_text_atomic

STAGES = ("read", "preprocess", "run", "postprocess")


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
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all detections to this JSON file.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one line per object to this CSV file.")] = None,
    timings: Annotated[bool, typer.Option(help="Print milliseconds per stage.")] = False,
) -> None:
    """Detect objects; print a table, and save annotated copies, JSON or CSV."""
    detector = options.load_detector(
        model, runtime, threads, spec, score_threshold, iou_threshold, max_detections, classes, labels
    )
    failures: list[EdgeSSDError] = []
    records = []
    with AnnotatedOutput(save) as output:
        for frame in detector.stream(sources, failures):
            records.append(_record(frame))
            output.add(frame.source, frame.number, frame.image, frame.detections)
    console = Console(markup=False)
    if records:
        console.print(_table(records))
    if timings and records:
        console.print(timing_table(records))
    if json_file is not None:
        document = {"model": detector.spec.name, "results": records, "failures": [str(error) for error in failures]}
        write_text_atomic(json_file, json.dumps(document, indent=1) + "\n")
    if csv_file is not None:
        write_bytes_atomic(csv_file, _csv(records).encode())
    for written in output.written:
        console.print(f"wrote {written}", highlight=False, soft_wrap=True)
    if len(failures) == 1 and not records:
        raise failures[0]
    if failures:
        lines = "".join(f"\n  {error}" for error in failures)
        raise InputError(f"{len(failures)} of {len(failures) + len(_sources(records))} inputs failed:{lines}")


def _record(frame: Frame) -> dict[str, Any]:
    return {"source": frame.source, "frame": frame.number, **frame.detections.to_dict()}


def _sources(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(record["source"] for record in records))


def _table(records: list[dict[str, Any]]) -> Table:
    """One row per picture; a video has one row that counts its frames."""
    table = Table("source", "size", "objects", "ms", title=None)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_source.setdefault(record["source"], []).append(record)
    for source, frames in by_source.items():
        total = median(sum(frame["milliseconds"].values()) for frame in frames)
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
        table.add_row(Path(source).name, f"{first['width']}x{first['height']}", objects, f"{total:.1f}")
    return table


def timing_table(records: list[dict[str, Any]]) -> Table:
    """Median milliseconds of each stage over all pictures."""
    table = Table("stage", "median ms", title=None)
    table.columns[1].justify = "right"
    for stage in STAGES:
        values = [record["milliseconds"][stage] for record in records if stage in record["milliseconds"]]
        if values:
            table.add_row(stage, f"{median(values):.2f}")
    return table


def _csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "frame", "name", "label", "score", "x1", "y1", "x2", "y2"])
    for record in records:
        for found in record["objects"]:
            writer.writerow(
                [record["source"], record["frame"], found["name"], found["label"], found["score"], *found["box"]]
            )
    return text.getvalue()
