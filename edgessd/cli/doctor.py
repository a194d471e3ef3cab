"""`edgessd doctor`: what is wrong with a data set, which priors suit it, and a repaired copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgessd._cv2 import cv2
from edgessd.classes.class_map import ClassMap
from edgessd.cli import options
from edgessd.datasets.doctor import Checkup, PriorReport, examine, fit_priors, repair
from edgessd.datasets.doctor.histograms import histograms
from edgessd.datasets.doctor.prior_fit import MATCH, input_boxes
from edgessd.datasets.doctor.repair import check_target
from edgessd.datasets.doctor.sheet import problem_sheet
from edgessd.datasets.load import load_dataset, read_classes, read_dataset, sources
from edgessd.datasets.problems import PROBLEM_KINDS, Problem
from edgessd.datasets.records import build
from edgessd.detector import Detector
from edgessd.errors import InputError, OptionError
from edgessd.io.files import check_writable, write_bytes_atomic, write_text_atomic
from edgessd.io.targets import keep_sources
from edgessd.ops.priors import PUBLISHED
from edgessd.spec import InputSpec, PriorSpec


def doctor(
    data: Annotated[str, typer.Option(help="Data set: a folder, a COCO .json or a data.yaml; several as a+b.")],
    split: Annotated[str | None, typer.Option(help="Name, list (.txt) or fraction; default: everything.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, if it is elsewhere.")] = None,
    classes: Annotated[Path | None, typer.Option(help="File of the classes that should occur, one a line.")] = None,
    model: options.Model = None,
    priors: Annotated[str | None, typer.Option(help="A published table of priors instead of a model's.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a sheet of the pictures at fault (PNG).")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write histograms of classes, sizes and shapes (PNG).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report to this file.")] = None,
    fix: Annotated[Path | None, typer.Option(help="Write a repaired copy to this new folder.")] = None,
    rename: Annotated[list[str] | None, typer.Option(help="With --fix: OLD=NEW merges a class into another.")] = None,
    augment: Annotated[int, typer.Option(min=0, help="Draw this many augmented samples.")] = 0,
    augment_sheet: Annotated[Path, typer.Option(help="With --augment: the picture.")] = Path("augmented.png"),
    seed: Annotated[int, typer.Option(help="Of the k-means, the augmentation and fraction splits.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads that decode pictures.")] = None,
) -> None:
    """Examine a data set: pictures, boxes, classes, priors; optionally write a repaired copy."""
    console = Console()
    renames = _renames(rename, fix)
    targets = [sheet, plots, json_file, augment_sheet if augment else None]
    for target in targets:
        if target is not None:
            check_writable(target)
    keep_sources(targets, [*sources(data), images, classes, model])
    if fix is not None:
        check_target(fix, sources(data))
    tensor, table = _priors(model, priors)
    found: list[Problem] = []
    records = read_dataset(data, split, images=images, seed=seed, problems=found)
    if not records.records and not found:
        where = "no annotated pictures" if split is None else f"no pictures in the split {split!r}"
        raise InputError(f"{data} has {where}: check the path and the split")
    expected = None if classes is None else ClassMap(read_classes(classes), records.names).spelling
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading pictures", total=len(records.records))
        checkup = examine(
            records,
            found,
            input_size=(tensor.width, tensor.height),
            whole=split is None,
            expected=expected,
            threads=threads,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    labelled = build(records)
    sizes = [checkup.size(record.image) for record in records.records]
    fit = None
    if len(input_boxes(labelled, sizes, tensor)[0]):
        fit = fit_priors(labelled, sizes, tensor, table, seed)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(report_dict(checkup, fit, labelled.classes), indent=1) + "\n")
    _print(console, checkup, fit, labelled.classes)
    if sheet is not None:
        _write_sheet(console, checkup, sheet)
    if plots is not None and fit is None:
        console.print("no object has an area in a picture that can be read: no histograms are drawn")
    elif plots is not None and fit is not None:
        histograms(plots, checkup, fit, table, labelled.classes)
        console.print(f"wrote {plots}", highlight=False, soft_wrap=True)
    if fix is not None:
        done = repair(checkup, fix, sources(data), renames)
        what = ", ".join(f"{count} x {name}" for name, count in done.repairs.items() if count) or "nothing to repair"
        console.print(f"wrote {done.pictures} pictures to {done.folder}: {what}", highlight=False, soft_wrap=True)
    if augment:
        # The one step into the training side, which needs torch: the augmentation that training itself uses.
        from edgessd.training.preview import draw_augmented

        picture = draw_augmented(load_dataset(data, split, images=images, seed=seed), tensor, augment, seed)
        _write_png(augment_sheet, picture)
        console.print(f"drew {augment} augmented samples to {augment_sheet}", highlight=False, soft_wrap=True)


def report_dict(checkup: Checkup, fit: PriorReport | None, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return everything that was found as plain values."""
    result: dict[str, Any] = {
        "format": checkup.records.format,
        "pictures": len(checkup.records.records),
        "objects": sum(checkup.counts.values()),
        "classes": checkup.counts,
        "counts": {kind: len(checkup.of_kind(kind)) for kind in PROBLEM_KINDS},
        "problems": [
            {
                "kind": problem.kind,
                "text": problem.text,
                "file": str(problem.file),
                "image": None if problem.image is None else str(problem.image),
                "boxes": [list(box) for box in problem.boxes],
            }
            for problem in checkup.problems
        ],
    }
    if fit is not None:
        result["priors"] = {
            "objects": len(fit.boxes),
            "unmatched": int((fit.current < MATCH).sum()),
            "recall": fit.recall(fit.current),
            "unmatched_by_class": _unmatched(fit, classes),
            "proposal": {
                "recall": fit.recall(fit.proposed),
                "maps": [[level.rows, level.columns] for level in fit.proposal.levels],
                "boxes": [[list(box) for box in level.boxes] for level in fit.proposal.levels],
            },
        }
    return result


def _renames(rename: list[str] | None, fix: Path | None) -> dict[str, str]:
    result = {}
    for item in rename or []:
        old, equals, new = item.partition("=")
        if not (old.strip() and equals and new.strip()):
            raise OptionError(f"--rename {item!r} is not OLD=NEW")
        result[old.strip()] = new.strip()
    if result and fix is None:
        raise OptionError("--rename changes the repaired copy: give its folder with --fix")
    return result


def _priors(model: str | None, rule: str | None) -> tuple[InputSpec, PriorSpec]:
    if rule is None:
        with Detector.load(model) as detector:
            return detector.spec.input, detector.spec.priors
    if model is not None:
        raise OptionError("--model and --priors both name priors: give one of them")
    if rule not in PUBLISHED:
        raise OptionError(f"unknown table of priors {rule!r}: use {', '.join(PUBLISHED)}")
    side, make = PUBLISHED[rule]
    return InputSpec(width=side, height=side), make()


def _print(console: Console, checkup: Checkup, fit: PriorReport | None, classes: tuple[str, ...]) -> None:
    total = sum(checkup.counts.values())
    console.print(
        f"{len(checkup.records.records)} pictures ({checkup.records.format.upper()}), {total} objects, "
        f"{len(checkup.counts)} classes: " + ", ".join(f"{name} {count}" for name, count in checkup.counts.items()),
        highlight=False,
    )
    table = Table("problem", "count", "for example", title=None)
    table.columns[1].justify = "right"
    for kind, meaning in PROBLEM_KINDS.items():
        if problems := checkup.of_kind(kind):
            table.add_row(meaning, str(len(problems)), f"{problems[0].file.name}: {problems[0].text}")
    if table.row_count:
        console.print(table, highlight=False)
    else:
        console.print("no problems found")
    if fit is None:
        return
    unmatched = int((fit.current < MATCH).sum())
    worst = ", ".join(f"{name} {count}" for name, count in _unmatched(fit, classes).items() if count)
    console.print(
        f"priors: {unmatched} of {len(fit.boxes)} objects have none at IoU 0.5"
        + (f" ({worst})" if worst else "")
        + f"; recall {fit.recall(fit.current):.1%}, with the k-means proposal {fit.recall(fit.proposed):.1%}",
        highlight=False,
        soft_wrap=True,
    )
    console.print('proposal, for `ops.priors.explicit_priors(maps, boxes, rule="kmeans")`:')
    for level in fit.proposal.levels:
        boxes = ", ".join(f"({width:g}, {height:g})" for width, height in level.boxes)
        console.print(f"  {level.rows}x{level.columns}: [{boxes}]", highlight=False, soft_wrap=True)


def _unmatched(fit: PriorReport, classes: tuple[str, ...]) -> dict[str, int]:
    """Objects without a prior at IoU 0.5, by class."""
    return {name: int(((fit.labels == label) & (fit.current < MATCH)).sum()) for label, name in enumerate(classes)}


def _write_sheet(console: Console, checkup: Checkup, path: Path) -> None:
    picture = problem_sheet(checkup)
    if picture is None:
        console.print("no problem has a picture: no sheet is written")
        return
    _write_png(path, picture)
    console.print(f"drew pictures at fault to {path}", highlight=False, soft_wrap=True)


def _write_png(path: Path, picture: Any) -> None:
    ok, data = cv2.imencode(".png", picture)
    assert ok
    write_bytes_atomic(path, data.tobytes())
