"""`edgessd train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from edgessd.cli.options import class_list
from edgessd.cli.struct_command import CONFIG_FILE
from edgessd.errors import OptionError, missing_extra
from edgessd.options import read_toml


def train(
    context: typer.Context,
    data: Annotated[str | None, typer.Option(help="Data set: VOC, COCO or YOLO folder, or several as a+b.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, curves.")] = Path("runs/train"),
    config: Annotated[Path | None, CONFIG_FILE] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, with its arguments.")] = False,
    split: Annotated[str | None, typer.Option(help="To train on: a name, a list file or a fraction.")] = None,
    val_split: Annotated[str | None, typer.Option(help="To evaluate on; 'none' leaves evaluation out.")] = None,
    val_data: Annotated[str | None, typer.Option(help="Another data set to evaluate on.")] = None,
    classes: Annotated[str | None, typer.Option(help="Only these classes, separated by commas.")] = None,
    class_agnostic: Annotated[bool, typer.Option("--class-agnostic", help="One class, object, for all.")] = False,
    difficult: Annotated[str, typer.Option(help="VOC's difficult objects: ignore or train.")] = "ignore",
    init: Annotated[str, typer.Option(help="Weights to start from: checkpoint, .pth, or torchvision's name.")] = "",
    head: Annotated[str, typer.Option(help="ssd, ssdlite or a preset such as ssd300_vgg16.")] = "",
    backbone: Annotated[str, typer.Option(help="Such as timm:mobilenetv2_100 or vgg16.")] = "",
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels.")] = None,
    multi_scale: Annotated[str, typer.Option(help="Sizes, one for each batch: 256,320,384 or 256-384.")] = "",
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Pictures per step and process.")] = 32,
    accumulate: Annotated[int, typer.Option(help="Steps per update of the weights.")] = 1,
    optimizer: Annotated[str, typer.Option(help="sgd or adamw.")] = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate; default 2e-3 (sgd), 5e-4 (adamw).")] = None,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = 0.9,
    weight_decay: Annotated[float | None, typer.Option(help="Default 5e-4 (sgd), 0.05 (adamw).")] = None,
    schedule: Annotated[str, typer.Option(help="cosine, steps (the paper's) or constant.")] = "cosine",
    warmup: Annotated[int, typer.Option(help="Updates in which the learning rate rises.")] = 100,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient; 0 is off.")] = 10.0,
    ema: Annotated[float, typer.Option(help="Decay of the average of the weights; 0 is off.")] = 0.998,
    amp: Annotated[str, typer.Option(help="bf16, no, or auto: bf16 where the hardware computes in it.")] = "auto",
    loss: Annotated[str, typer.Option(help="softmax (the paper's), focal, sigmoid or multibox.")] = "softmax",
    augment: Annotated[str, typer.Option(help="none, flip, light or paper.")] = "paper",
    no_photometric: Annotated[bool, typer.Option("--no-photometric", help="Leave colours alone.")] = False,
    no_expand: Annotated[bool, typer.Option("--no-expand", help="Never zoom out.")] = False,
    no_crop: Annotated[bool, typer.Option("--no-crop", help="Never crop.")] = False,
    no_flip: Annotated[bool, typer.Option("--no-flip", help="Never mirror.")] = False,
    norm: Annotated[str, typer.Option(help="Batch norm: auto, train, frozen, folded or reestimated.")] = "auto",
    freeze_backbone: Annotated[bool, typer.Option("--freeze-backbone", help="Train what lies behind it.")] = False,
    ratios: Annotated[str, typer.Option(help="The paper's table 2: aspect ratios 1, 1,2 or 1,2,3.")] = "",
    layers: Annotated[int, typer.Option(help="The paper's table 3: number of prediction layers.")] = 0,
    exclude_boundary: Annotated[bool, typer.Option("--exclude-boundary", help="Leave out priors at borders.")] = False,
    priors: Annotated[str, typer.Option(help="kmeans: made for the objects trained on, see `doctor`.")] = "",
    top_down: Annotated[int, typer.Option(help="Channels of a finest level that sees the next one too; 0: none.")] = 0,
    full_vgg: Annotated[bool, typer.Option("--full-vgg", help="VGG-16 without the atrous layers.")] = False,
    teacher: Annotated[str, typer.Option(help="Checkpoint whose raw outputs are learnt as well.")] = "",
    unlabelled: Annotated[str, typer.Option(help="Folder of pictures for the teacher.")] = "",
    unlabelled_batch: Annotated[int | None, typer.Option(help="Of them, per step; default the batch size.")] = None,
    distill_weight: Annotated[float, typer.Option(help="Weight of the teacher's loss.")] = 1.0,
    metric: Annotated[str, typer.Option(help="What best.safetensors is best in: voc or voc07.")] = "voc",
    eval_every: Annotated[int, typer.Option(help="Epochs between evaluations.")] = 1,
    save_every: Annotated[int, typer.Option(help="Updates between saves within an epoch; 0 is off.")] = 0,
    max_failed: Annotated[float, typer.Option(help="Share of unreadable pictures that is borne.")] = 0.05,
    seed: Annotated[int, typer.Option(help="One seed gives one result.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes that load data; default: as the machine has.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch; default: torch's own choice.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu keeps off the GPU.")] = None,
) -> None:
    """Train a detector on a labelled folder; several GPUs or machines with `accelerate launch -m edgessd train ...`."""
    _environment()
    try:
        from edgessd.training import TrainConfig, make_config, saved_config
        from edgessd.training import train as run
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "train") from None
    values = {"out": str(out)} if config is None else {"out": str(out), **read_toml(config, TrainConfig)}
    values |= _options_given(context)
    if resume:
        values = {**msgspec.to_builtins(saved_config(values["out"])), **values}
    elif "data" not in values:
        raise OptionError("no data set is given: name its folder with --data")
    result = run(make_config(**{**values, "out": str(values["out"])}), resume=resume)
    if result.interrupted is not None:
        raise typer.Exit(128 + result.interrupted)


def _environment() -> None:
    """Settings that libraries read when they are loaded; the user's own are kept."""
    # OpenMP's threads wait for each other by turning in circles, for milliseconds: with any other process on the same
    # cores (the loader is one) a step takes up to ten times as long. A thousand turns are microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _options_given(context: typer.Context) -> dict[str, Any]:
    """What the command line says, without what it leaves at its default."""
    values: dict[str, Any] = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":  # by name: some typers bring a click of their own
            continue
        if name.startswith("no_"):
            values[name.removeprefix("no_")] = 0.0
        elif name == "full_vgg":
            values["backbone_options"] = {"atrous": False}
        elif name == "classes":
            values["classes"] = class_list(value)
        elif name not in ("resume", "config"):
            values[name] = value
    return values
