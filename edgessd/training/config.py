"""Everything that decides a training run: what `train` takes, and what a run writes down about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from edgessd.errors import OptionError
from edgessd.options import Option, located, to_toml
from edgessd.training.augment import Augmentation, Probability, preset
from edgessd.training.loss import LossKind
from edgessd.training.scales import parse_sizes
from edgessd.training.schedule import Schedule

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Weight = Annotated[float, Meta(ge=0)]

NormMode = Literal["auto", "train", "frozen", "folded", "reestimated"]

# What may differ between a run and its continuation: where it runs and what it tells, not what it computes.
FREE_ON_RESUME = ("out", "workers", "threads", "save_every", "eval_every", "max_failed", "device", "progress")


class TrainConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A training run. Only `data` and `out` have no default.

    Data:
        data: anything `load_dataset` takes. split, val_split: of it; where neither is given, `train` and `val`,
        or nine tenths and the rest of the pictures. val_data: another set to evaluate on. classes: limit and
        order the classes. class_agnostic: all of them become one class, `object` (MultiBox).
        difficult: `ignore` leaves VOC's difficult objects out of the loss, positive and negative; `train` learns
        them as the paper's Caffe code does. COCO's crowd regions are always ignored.
        max_failed: share of the pictures that may be unreadable before the run fails.
    Network:
        init: weights to start from, see `transfer.read_source`. head: `ssd`, `ssdlite` or a preset's name;
        backbone, backbone_options, size: as for `create_model`; where head, backbone and size are all left out,
        those of `init`. ratios, layers, exclude_boundary: the paper's experiments, see `network.py`. priors: `kmeans`
        makes priors for the objects trained on, as `doctor` proposes them. top_down: channels of a finest level that
        sees the next one as well, as for `create_model`.
        freeze_backbone: train extra levels and heads only. norm: see `norm.py`.
        multi_scale: input sizes of which each batch has one, `256,320,384` or `256-384` (multiples of 32); empty:
        always `size`, at which the network is evaluated and saved in any case. See `scales.py`.
    Objective: loss, alpha, negative_ratio: see `MultiBoxLoss`. iou_threshold: of matching.
    Optimisation:
        batch_size: pictures per step and process; accumulate: steps per update. lr: None is 2e-3 for `sgd` and
        5e-4 for `adamw`; weight_decay: None is the paper's 5e-4, and 0.05; not applied to norms and biases.
        warmup: updates. clip: largest norm of the gradient, 0 is off. ema: decay of the moving average, 0 is off.
        amp: bfloat16 where it is faster (`auto`), always, or never.
    Augmentation: augment: a preset; photometric, expand, crop, flip: probabilities that replace the preset's.
    Distillation: teacher: a checkpoint with the same priors and classes; unlabelled: a folder of pictures,
        of which `unlabelled_batch` join each step (None: as many as labelled ones); see `distill.py`.
    Running: seed; workers: loader processes, None chooses; threads: of torch, None leaves its own choice;
        device: None lets Accelerate choose, `cpu` keeps off the GPU; save_every: updates between saves within
        an epoch, 0 saves at its end only; eval_every: epochs; metric: what `best.safetensors` is best in;
        progress: show a bar.
    """

    data: Annotated[str, Option("Data set.", file="sum")]
    out: Annotated[str, Option("Folder of the run.", file="always")]
    split: Annotated[str | None, Option("", file="there")] = None
    val_split: Annotated[str | None, Option("", file="there")] = None
    val_data: Annotated[str | None, Option("", file="sum")] = None
    classes: tuple[str, ...] = ()
    class_agnostic: bool = False
    difficult: Literal["ignore", "train"] = "ignore"
    max_failed: Probability = 0.05

    init: Annotated[str, Option("", file="there")] = ""
    head: str = ""
    backbone: str = ""
    backbone_options: dict[str, str | int | float | bool | tuple[int, ...]] = msgspec.field(default_factory=dict)
    size: int | None = None
    ratios: str = ""
    layers: Natural = 0
    exclude_boundary: bool = False
    priors: Literal["", "kmeans"] = ""
    top_down: Natural = 0
    freeze_backbone: bool = False
    norm: NormMode = "auto"
    multi_scale: str = ""

    loss: LossKind = "softmax"
    alpha: Weight | None = None
    negative_ratio: Weight = 3.0
    iou_threshold: Probability = 0.5

    epochs: Count = 30
    batch_size: Count = 32
    accumulate: Count = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Rate | None = None
    momentum: Probability = 0.9
    weight_decay: Weight | None = None
    schedule: Schedule = "cosine"
    warmup: Natural = 100
    clip: Weight = 10.0
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.998
    amp: Literal["auto", "bf16", "no"] = "auto"

    augment: str = "paper"
    photometric: Probability | None = None
    expand: Probability | None = None
    crop: Probability | None = None
    flip: Probability | None = None

    teacher: Annotated[str, Option("", file="there")] = ""
    unlabelled: Annotated[str, Option("", file="there")] = ""
    unlabelled_batch: Natural | None = None
    distill_weight: Weight = 1.0

    seed: Natural = 0
    workers: Natural | None = None
    threads: Count | None = None
    device: Literal["cpu"] | None = None
    save_every: Natural = 0
    eval_every: Count = 1
    metric: Literal["voc07", "voc"] = "voc"
    progress: bool = True

    @property
    def learning_rate(self) -> float:
        """The given one, or the optimiser's default."""
        return self.lr if self.lr is not None else {"sgd": 2e-3, "adamw": 5e-4}[self.optimizer]

    @property
    def decay(self) -> float:
        """The given weight decay, or the optimiser's default."""
        return self.weight_decay if self.weight_decay is not None else {"sgd": 5e-4, "adamw": 0.05}[self.optimizer]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The input sizes of multi-scale training; none where it is off. Raises OptionError for what is no size."""
        return parse_sizes(self.multi_scale) if self.multi_scale else ()

    @property
    def augmentation(self) -> Augmentation:
        """The preset with the single switches put in. Raises OptionError for an unknown preset."""
        given = {name: getattr(self, name) for name in ("photometric", "expand", "crop", "flip")}
        chosen = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(preset(self.augment), **chosen)


def make_config(**values: Any) -> TrainConfig:
    """Return a checked config. Raises OptionError with the name and the value of what is not valid."""
    try:
        config = msgspec.convert(values, TrainConfig)
    except msgspec.ValidationError as error:
        name = next((key for key in values if f"`$.{key}" in str(error)), "")
        shown = f"{name} {values[name]!r}: " if name else ""
        raise OptionError(f"{shown}{error}") from None
    _ = config.augmentation, config.sizes  # refuse what is unknown before any work is done
    if config.class_agnostic is False and config.loss == "multibox":
        raise OptionError("the multibox loss is for one class of everything: add class_agnostic (--class-agnostic)")
    if bool(config.unlabelled) and not config.teacher:
        raise OptionError("unlabelled pictures need a teacher: give the checkpoint whose outputs are to be learnt")
    if config.multi_scale and config.teacher:
        raise OptionError("a teacher's outputs are those of its own input size: leave multi_scale out")
    return config


def to_file(config: TrainConfig) -> str:
    """Return the config as a TOML file for `edgessd train --config`; its paths are absolute."""
    return to_toml(TrainConfig, _absolute_paths(config), "This run, for `edgessd train --config FILE --out ANOTHER`.")


def _absolute_paths(config: TrainConfig) -> dict[str, Any]:
    """The values by name, paths absolute."""
    return located(TrainConfig, msgspec.structs.asdict(config), Path.cwd())


def differences(saved: TrainConfig, given: TrainConfig) -> list[str]:
    """Return `name: saved -> given` for every setting that a continued run may not change."""
    old, new = _absolute_paths(saved), _absolute_paths(given)
    return [
        f"{name}: {old[name]} -> {new[name]}" for name in old if name not in FREE_ON_RESUME and old[name] != new[name]
    ]
