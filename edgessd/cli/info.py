"""`edgessd info` and `edgessd models`: what a model file says about itself, and what comes with the package."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.cli import options
from edgessd.detector import Detector
from edgessd.draw.priors import draw_priors
from edgessd.errors import DependencyError, OptionError, SpecError, did_you_mean
from edgessd.io.files import write_bytes_atomic
from edgessd.io.images import load_image
from edgessd.io.targets import keep_sources
from edgessd.model_file import describe, read_facts, read_spec, read_spec_json
from edgessd.ops.priors import PUBLISHED, kept_count
from edgessd.spec import UNKNOWN_PRIORS, InputSpec, ModelSpec, PriorSpec
from edgessd.validation import validate as hold_to_contract


def info(
    model: Annotated[str | None, typer.Argument(help="A bundled model's name or a model file.")] = None,
    spec: options.Spec = None,
    labels: options.Labels = None,
    validate: Annotated[bool, typer.Option("--validate", help="Hold the file to docs/model-file.md.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the whole spec as JSON.")] = False,
    priors: Annotated[bool, typer.Option("--priors", help="Print the priors per level and draw them.")] = False,
    rule: Annotated[str | None, typer.Option(help="With --priors: a published table instead of a model's.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="With --priors: the picture.")] = Path("priors.png"),
) -> None:
    """Show what a model file says about itself."""
    console = Console(markup=False, highlight=False)
    if rule is not None:
        if rule not in PUBLISHED:
            raise OptionError(f"unknown table {rule!r}{did_you_mean(rule, PUBLISHED)}: use {', '.join(PUBLISHED)}")
        size, table = PUBLISHED[rule]
        _show_priors(console, table(), InputSpec(width=size, height=size), output)
        return
    path = zoo.resolve_model(model)
    if priors:
        keep_sources([output], [path, spec, labels])
    if validate:
        _validate(console, path)
        return
    try:
        described = read_spec_json(spec) if spec is not None else read_spec(path, labels)
    except SpecError:
        _show_tensors(console, path)
        raise
    if json_output:
        print(described.to_json())
        return
    _show(console, described, path)
    if priors:
        _show_priors(console, described.priors, described.input, output)


def models(
    time: Annotated[bool, typer.Option("--time/--no-time", help="Measure here, one thread; less than 2 s.")] = True,
) -> None:
    """List the bundled models."""
    table = Table("model", "input", "classes", "type", "MB", "AP")
    if time:
        table.add_column("ms here")
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column.header in ("model", "input", "type") else "right"
    for name, first in zoo.bundled_models().items():
        for path in sorted(first.parent.glob(f"{name}.*")):
            spec = read_spec(path)
            quality = [value for key, value in spec.provenance.metrics.items() if key.endswith("/AP")]
            cells = [
                path.name + ("*" if path == zoo.resolve_model() else ""),
                f"{spec.input.width}x{spec.input.height}",
                str(len(spec.classes)),
                "int8" if spec.quantization else "float32",
                f"{path.stat().st_size / 1e6:.1f}",
                f"{quality[0]:.1f}" if quality else "-",
            ]
            table.add_row(*cells, *([_milliseconds(path)] if time else []))
    console = Console(highlight=False)
    console.print(table)
    console.print("* what `edgessd.detect` takes; AP: on COCO, `edgessd info` says on which pictures", soft_wrap=True)
    if time:
        console.print(
            "ms: a photo in memory to boxes, one thread, median of 9; `edgessd benchmark` measures more", soft_wrap=True
        )


def _milliseconds(path: Path) -> str:
    """Median time of a detection on one thread; - where its runtime is not installed."""
    photo = load_image(zoo.photos()[0])
    try:
        with Detector.load(path, threads=1) as detector:
            times = [sum(detector(photo).timings.values()) for _ in range(12)]
    except DependencyError:
        return "-"
    return f"{statistics.median(times[3:]):.1f}"  # the first runs are slow


def _validate(console: Console, path: Path) -> None:
    """Print one line for each check. Raises SpecError where one fails."""
    checks = hold_to_contract(path)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, passed, text in checks:
        table.add_row({True: "ok", False: "FAILS", None: "-"}[passed], name, text)
    console.print(table)
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        raise SpecError(f"{path} fails {len(failed)} of {len(checks)} checks: {', '.join(failed)}")


def _show_tensors(console: Console, path: Path) -> None:
    """Print what there is to say about a file without a spec."""
    facts = read_facts(path)
    table = Table(show_header=False, title=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("file", f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    for name, tensors in (("input", facts.inputs), ("output", facts.outputs)):
        for tensor in tensors[:20]:
            table.add_row(name, describe(tensor))
    if facts.labels is not None:
        table.add_row("labels", f"{len(facts.labels)} in {facts.labels_at}")
    console.print(table)


def _show(console: Console, spec: ModelSpec, path: Path) -> None:
    table = Table(show_header=False, title=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    tensor = spec.input
    steps = [f"{tensor.resize} to {tensor.width}x{tensor.height}", tensor.channels]
    if tensor.dtype == "float32":
        steps.append(f"(p - {_numbers(tensor.mean)}) / {_numbers(tensor.scale)}")
    else:
        steps.append(f"scale {tensor.quantization_scale:.6g}, zero point {tensor.quantization_zero_point}")
    limits = spec.defaults
    rows = {
        "name": spec.name,
        "file": f"{path} ({path.stat().st_size / 1e6:.2f} MB)",
        "input": f"{tensor.dtype} {tensor.layout}: {', '.join(steps)}",
        "classes": f"{len(spec.classes)}: {', '.join(spec.classes)}",
        "category ids": _runs(spec.category_ids or ()),
        "priors": "inside the graph"
        if spec.priors == UNKNOWN_PRIORS
        else f"{spec.priors.count}, rule {spec.priors.rule}, {len(spec.priors.levels)} levels",
        "scores": spec.scores,
        "output": f"{spec.output.words}: {', '.join(spec.output.names)}",
        "precision": spec.precision,
        "defaults": f"score > {limits.score_threshold}, IoU {limits.iou_threshold}, at most {limits.max_detections}"
        + (" (baked in)" if spec.output.level == "nms" else ""),
    }
    if spec.architecture is not None:
        rows["architecture"] = f"{spec.architecture.head} on {spec.architecture.backbone}"
    if spec.quantization is not None:
        how = spec.quantization
        kept = f", float: {', '.join(how.kept_float)}" if how.kept_float else ""
        rows["quantization"] = (
            f"{how.method} by {how.tool}: {how.activations} activations, {how.weights} weights"
            f"{' per channel' if how.per_channel else ''}, {how.calibration_images or 'no'} calibration pictures{kept}"
            f"{', cannot saturate' if how.saturation_free else ''}"
        )
    source = spec.provenance
    rows |= {k: v for k, v in (("weights", source.weights), ("license", source.license)) if v}
    if source.metrics:
        rows["metrics"] = ", ".join(f"{key} {value:g}" for key, value in source.metrics.items())
    for key, value in rows.items():
        if value:
            table.add_row(key, value)
    console.print(table)


def _show_priors(console: Console, spec: PriorSpec, tensor: InputSpec, output: Path) -> None:
    table = Table("level", "map", "stride", "receptive field", "scale", "boxes per cell", "priors", title=None)
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = column.header == "scale"
    for number, level in enumerate(spec.levels, 1):
        areas = [(width * height) ** 0.5 for width, height in level.boxes]
        low, high = f"{min(areas):.3g}", f"{max(areas):.3g}"
        field = "-" if level.receptive_field is None else str(level.receptive_field)
        if level.receptive_field is not None and level.receptive_field >= min(tensor.width, tensor.height):
            field = "all"
        table.add_row(
            str(number),
            f"{level.columns}x{level.rows}",
            f"{tensor.width / level.columns:.4g}",
            field,
            low if low == high else f"{low} .. {high}",
            str(len(level.boxes)),
            f"{level.count:,}",
        )
    table.add_row("all", "", "", "", "", "", f"{spec.count:,}", style="bold")
    console.print(table)
    if spec.exclude_boundary:
        console.print(f"{kept_count(spec):,} of them lie inside the picture and take part")
    ok, data = cv2.imencode(".png", draw_priors(spec))
    assert ok
    write_bytes_atomic(output, data.tobytes())
    console.print(f"drew the boxes of a cell of each level to {output}", highlight=False, soft_wrap=True)


def _runs(numbers: Sequence[int]) -> str:
    """Whole numbers in their order, three and more consecutive ones as `1..11`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"
