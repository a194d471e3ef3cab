"""`edgessd evaluate`: how good a model, or a file of stored detections, is on labelled pictures."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgessd._signals import Stop, stop_on_signals
from edgessd.cli import options
from edgessd.datasets import LabelledSet, load_dataset
from edgessd.datasets.load import sources
from edgessd.detector import Detector
from edgessd.errors import InputError, OptionError, did_you_mean
from edgessd.evaluation import Evaluation, detect_all, load_detections, save_detections
from edgessd.evaluation import evaluate as measure
from edgessd.evaluation.plots import SHEETS, write_plots
from edgessd.evaluation.protocols import METRICS, under_protocol
from edgessd.io.files import check_writable, printable, write_text_atomic
from edgessd.io.targets import keep_sources
from edgessd.results import Detections

ERRORS = "errors.json"  # in the folder of --plots


def evaluate(
    model: Annotated[str | None, typer.Argument(help="A bundled model's name or a model file.")] = None,
    data: Annotated[str, typer.Option(help="Data set: a folder, a COCO .json or a data.yaml; several as a+b.")] = "",
    split: Annotated[str | None, typer.Option(help="Name, list (.txt) or fraction; default: everything.")] = None,
    metric: Annotated[str, typer.Option(help="voc07 (11 points), voc (area) or coco.")] = "coco",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, if it is elsewhere.")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these classes, separated by commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for plots and the error analysis.")] = None,
    save: Annotated[
        Path | None, typer.Option("--save-detections", help="Store the detections, to evaluate them again.")
    ] = None,
    stored: Annotated[Path | None, typer.Option("--detections", help="Stored detections instead of a model.")] = None,
    runtime: options.Runtime = None,
    threads: options.Threads = None,
    spec: options.Spec = None,
    labels: options.Labels = None,
    score_threshold: Annotated[float | None, typer.Option(help="Only scores above this; default 0.01.")] = None,
    iou_threshold: Annotated[float | None, typer.Option(help="Of the suppression; default coco 0.6, voc 0.5.")] = None,
    max_detections: Annotated[int | None, typer.Option(help="In one picture; default coco 100, voc 200.")] = None,
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of unreadable pictures that is borne; each finds nothing.")
    ] = 0.05,
) -> None:
    """Measure average precision on labelled pictures; optionally plots and error analysis."""
    console = Console(markup=False)
    if not data:
        raise OptionError("which data? give its folder with --data")
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}: use {', '.join(METRICS)}")
    if stored is not None and (model is not None or save is not None):
        raise OptionError("--detections takes the place of a model: leave MODEL and --save-detections out")
    for target in (json_file, save):
        if target is not None:
            check_writable(target, made=plots)
    truth = load_dataset(data, split, classes=options.class_list(classes), images=images)
    if limit is not None:
        truth = truth.take(range(min(limit, len(truth))))
    keep_sources([json_file, save], [model, stored, labels, spec, images, *sources(data)])
    if plots is not None:
        keep_sources([plots / name for name in (*SHEETS, ERRORS)], [sample.image for sample in truth.samples])
    unreadable: list[str] = []
    stop = Stop()
    if stored is not None:
        name, model_classes, found = load_detections(stored, truth)
    else:
        given = (score_threshold, iou_threshold, max_detections)
        detector = options.load_detector(model, runtime, threads, spec, *given, labels=labels)
        if detector.spec.output.level == "nms":  # what the caller does not ask for stays as it is baked in
            baked = detector.spec.defaults
            console.print(
                f"the file's own thresholds: score {baked.score_threshold:g}, IoU {baked.iou_threshold:g}, "
                f"at most {baked.max_detections} detections (level nms)",
                highlight=False,
            )
        detector = under_protocol(
            detector,
            metric,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        with detector, stop_on_signals() as stop:
            name, model_classes = detector.spec.name, detector.spec.classes
            found = _detect(console, detector, truth, unreadable, stop)
        if not found:
            stop.check()
    wanted, truth = len(truth), truth.take(range(len(found)))
    if stored is None:
        _refuse(console, unreadable, len(truth), max_failed)
        if save is not None:
            save_detections(save, name, truth, found)
    result = measure(truth, found, metric, model_classes=model_classes)
    if json_file is not None:  # the files first: the terminal may take no more
        document = {"model": name, "data": data, "split": split, **result.to_dict(), "unreadable": unreadable}
        if len(truth) < wanted:
            document["stopped"] = {"measured": len(truth), "of": wanted}
        write_text_atomic(json_file, json.dumps(document, indent=1) + "\n")
    sheets = [] if plots is None else _write(result, plots)
    _print(console, name, result)
    for path in [*([save] if save is not None else []), *sheets]:
        console.print(f"wrote {printable(path)}", highlight=False, soft_wrap=True)
    if unreadable:
        _list(console, unreadable)
        console.print(
            f"{len(unreadable)} of {len(truth)} pictures could not be read and count as pictures without detections",
            highlight=False,
            soft_wrap=True,
        )
    if len(truth) < wanted:
        print(f"stopped: the figures are those of the first {len(truth)} of {wanted} pictures", file=sys.stderr)
        stop.check(told=True)


def _detect(
    console: Console, detector: Detector, truth: LabelledSet, unreadable: list[str], stop: Stop
) -> list[Detections]:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("detecting", total=len(truth))
        return detect_all(
            detector,
            truth,
            None,
            progress=lambda done, _: bar.update(task, completed=done),
            skipped=unreadable.append,
            stop=stop.is_set,
        )


def _refuse(console: Console, unreadable: list[str], pictures: int, share: float) -> None:
    """Give no figure where too many pictures are missing from it."""
    if len(unreadable) > share * pictures:
        _list(console, unreadable)
        raise InputError(
            f"{len(unreadable)} of {pictures} pictures cannot be read, more than {share:.0%}: mend or remove them, "
            "or bear them with --max-failed"
        )


def _list(console: Console, unreadable: list[str]) -> None:
    for reason in unreadable:
        console.print(f"skipped: {reason}", highlight=False, soft_wrap=True)


def _print(console: Console, name: str, result: Evaluation) -> None:
    table = Table("class", "objects", "AP", "best F1 at score", "precision", "recall", title=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for each in result.classes:
        label = each.name if each.name == each.model_name else f"{each.name} (model: {each.model_name})"
        best = ("-", "-", "-") if each.best is None else tuple(f"{value:.2f}" for value in each.best[:3])
        table.add_row(label, str(each.objects), _percent(each.ap, 1), *best)
    console.print(table)
    empty = [each.name for each in result.classes if not each.objects]
    if empty:
        console.print(f"no objects, so not in the mean: {', '.join(empty)}", highlight=False)
    if result.match.missing:
        counts = ", ".join(f"{each} ({count} objects)" for each, count in result.match.missing.items())
        console.print(f"not evaluated, because the model does not have them: {counts}", highlight=False)
    if result.match.unused:
        console.print(f"classes of the model without a partner in the data: {len(result.match.unused)} (see --json)")
    console.print(f"{name}: {result.summary}", highlight=False, soft_wrap=True)


def _percent(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _write(result: Evaluation, folder: Path) -> list[Path]:
    """Write the sheets, and the error analysis that they show as errors.json; return the files."""
    if folder.is_file():
        raise InputError(f"{printable(folder)} is a file: give --plots a folder")
    written = write_plots(result, folder)
    write_text_atomic(folder / ERRORS, json.dumps(result.errors_dict(), indent=1) + "\n")
    return [*written, folder / ERRORS]
