"""`edgessd qat`: quantisation-aware training from a float checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgessd.cli.options import class_list
from edgessd.errors import OptionError, missing_extra


def qat(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    init: Annotated[str, typer.Option(help="The float checkpoint (.safetensors) to start from.")] = "",
    data: Annotated[str | None, typer.Option(help="Labelled set to learn from and to measure on.")] = None,
    split: Annotated[str | None, typer.Option(help="Of the set, to learn from.")] = None,
    val_split: Annotated[str | None, typer.Option(help="Of the set, to measure on.")] = None,
    classes: Annotated[str | None, typer.Option(help="Limit and order the classes, separated by commas.")] = None,
    calibration: Annotated[str | None, typer.Option(help="Folder of calibration pictures.")] = None,
    calibration_images: Annotated[int, typer.Option(help="At most this many of them.")] = 200,
    teacher: Annotated[str | None, typer.Option(help="Checkpoint to learn from; default: the one of --init.")] = None,
    unlabelled: Annotated[str | None, typer.Option(help="Folder of pictures for the teacher.")] = None,
    distill_weight: Annotated[float, typer.Option(help="Weight of the teacher's loss.")] = 1.0,
    keep_float: Annotated[list[str] | None, typer.Option(help="Modules that stay float; may be repeated.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the labelled set, or over the pictures.")] = 4,
    batch_size: Annotated[int, typer.Option(help="Pictures per step, of each kind.")] = 16,
    optimizer: Annotated[str, typer.Option(help="sgd or adam.")] = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate; default 1e-4 (sgd), 1e-5 (adam).")] = None,
    warmup: Annotated[int, typer.Option(help="Updates in which the learning rate rises.")] = 20,
    recalibrate: Annotated[float, typer.Option(help="Share of the run after which ranges are measured anew.")] = 0.7,
    augment: Annotated[str, typer.Option(help="none, flip, light or paper.")] = "light",
    metric: Annotated[str, typer.Option(help="What best.safetensors is best in: voc or voc07.")] = "voc",
    seed: Annotated[int, typer.Option(help="One seed gives one result.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Of torch; default: torch's own choice.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that load data.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
) -> None:
    """Train a quantised network: on labels, on the float network's outputs, or on both."""
    try:
        import msgspec

        from edgessd.quantization.qat import QatConfig, saved_config
        from edgessd.quantization.qat import qat as run
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "export") from None
    given = _options_given(context)
    if resume:
        given = {**msgspec.to_builtins(saved_config(out)), **given}
    for name, what in (("init", "the float checkpoint"), ("calibration", "a folder of calibration pictures")):
        if not given.get(name):
            raise OptionError(f"{what} is not given: name it with --{name}")
    try:
        config = msgspec.convert({**given, "out": str(out)}, QatConfig)
    except msgspec.ValidationError as error:
        raise OptionError(f"{error}") from None
    result = run(config, resume=resume)
    if result.interrupted is not None:
        raise typer.Exit(128 + result.interrupted)


def _options_given(context: typer.Context) -> dict[str, Any]:
    """What the command line says, without what it leaves at its default."""
    values: dict[str, Any] = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name != "resume":
            values[name] = class_list(value) if name == "classes" else value
    return values
