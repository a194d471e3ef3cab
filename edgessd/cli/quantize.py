"""`edgessd quantize`: int8 from a float checkpoint and calibration pictures, without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgessd.errors import InputError, ModelError, OptionError, missing_extra
from edgessd.evaluation.distance import distance
from edgessd.io.files import check_writable, make_folder, write_text_atomic
from edgessd.io.targets import keep_sources

SENSITIVITY_PICTURES = 32


def quantize(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint (.safetensors).")],
    calibration: Annotated[str, typer.Option(help="Folder of pictures like those that the model will see.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The quantised checkpoint to write.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many of the pictures.")] = 200,
    keep_float: Annotated[
        list[str] | None, typer.Option(help="Modules that stay float, such as 'head.offsets.*.1'; may be repeated.")
    ] = None,
    sensitivity: Annotated[
        Path | None, typer.Option(help="Measure each layer alone; write table.json and layers.png to this folder.")
    ] = None,
    equalization: Annotated[
        bool, typer.Option("--equalize/--no-equalize", help="Give the channels of an activation the same range.")
    ] = True,
    rounding: Annotated[str, typer.Option(help="Of weights: adaptive, or nearest.")] = "adaptive",
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; default: torch's own choice.")] = None,
) -> None:
    """Quantise a checkpoint to int8 by calibration (PTQ); `edgessd export` writes its files."""
    console = Console()
    if not calibration:
        raise OptionError("which pictures? give a folder of a hundred or more like those to come with --calibration")
    if rounding not in ("adaptive", "nearest"):
        raise OptionError(f"--rounding is adaptive or nearest, not {rounding!r}")
    target = output or Path(checkpoint).with_name(f"{Path(checkpoint).stem}.int8.safetensors")
    keep_sources([target], [checkpoint])
    try:
        check_writable(target)
        if sensitivity is not None:
            make_folder(sensitivity)
    except InputError as error:
        raise ModelError(str(error)) from None
    try:
        import torch

        from edgessd.models.checkpoint import load_checkpoint
        from edgessd.models.runtime import TorchRuntime
        from edgessd.quantization import (
            calibrate,
            calibration_pictures,
            equalize,
            prepare_network,
            round_adaptively,
            save_quantized,
        )
        from edgessd.quantization.recipe import is_quantized
        from edgessd.quantization.sensitivity import draw
        from edgessd.quantization.sensitivity import sensitivity as measure
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "export") from None
    if threads is not None:
        torch.set_num_threads(threads)
    if is_quantized(checkpoint):
        raise OptionError(f"{checkpoint} is quantised already: give the float checkpoint")
    model, spec = load_checkpoint(checkpoint)
    pictures = calibration_pictures(calibration, limit)
    for line in pictures.failures:
        console.print(f"skipped: {line}", highlight=False, soft_wrap=True)
    network = prepare_network(model, spec, keep_float=keep_float or ())
    count = f"on {len(pictures.paths)} pictures"
    if equalization:
        with console.status(f"equalising channels {count}"):
            equalize(network, pictures)
    with console.status(f"calibrating {count}"):
        calibrate(network, pictures)
    if sensitivity is not None:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("layer by layer", total=None)
            costs = measure(
                network,
                pictures.paths[:SENSITIVITY_PICTURES],
                lambda done, total: bar.update(task, completed=done, total=total),
            )
        write_text_atomic(sensitivity / "table.json", json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
        draw(costs, sensitivity / "layers.png")
        table = Table("layer", "rounded", "boxes", "scores")
        for column in table.columns[2:]:
            column.justify = "right"
        for cost in costs[:15]:
            table.add_row(cost.module, cost.kind, f"{cost.boxes:.4f}", f"{cost.scores:.4f}")
        console.print(table)
        console.print(f"all layers: {sensitivity / 'table.json'}, {sensitivity / 'layers.png'}", soft_wrap=True)
    if rounding == "adaptive":
        with console.status(f"rounding weights {count}"):
            round_adaptively(network, pictures)
    save_quantized(target, network)
    away = distance(
        TorchRuntime((network.graph, network.spec)),
        TorchRuntime((model, spec)),
        list(pictures.paths[:SENSITIVITY_PICTURES]),
    )
    console.print(
        f"distance to the float network: boxes {away.boxes:.3f} (offsets, score > 0.3), scores {away.scores:.3f} "
        "(> 0.05), RMS",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"wrote {target}; next: edgessd export {target} -o {target.with_suffix('.onnx')}",
        highlight=False,
        soft_wrap=True,
    )
