"""Quantisation-aware training: the fake-quantised network learns labels, the float network's outputs, or both.

    equalise -> calibrate -> train -> calibrate again on the trained weights -> train on, a little lower

Ranges are measured by histograms and then fixed; training them with a moving average clipped the box offsets
and did not recover. The network was folded before, so there is no batch norm to keep still.

Activations are rounded while the network learns, weights are not: after each epoch a copy is rounded adaptively,
measured, and kept if it is the best. Learning to live with the nearest rounding of weights, which the files do not
have, led away from the float network: on the COCO network the distance in boxes went from 0.043 to 0.132 in an epoch.
Gradients are those of the network before it was equalised; otherwise channels that were made larger hardly learn and
those that read them learn too fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgessd._signals import Stop, stop_on_signals
from edgessd.classes.class_map import ClassMap
from edgessd.datasets import LabelledSet
from edgessd.errors import InputError, ModelError, OptionError
from edgessd.evaluation.distance import Distance, distance
from edgessd.io.files import atomic_write, make_folder
from edgessd.io.targets import keep_sources
from edgessd.models.checkpoint import load_checkpoint
from edgessd.models.runtime import TorchRuntime
from edgessd.models.ssd import SSD
from edgessd.quantization import pt2e
from edgessd.quantization.calibration import Calibration, calibration_pictures, hashed
from edgessd.quantization.capture import inference_copy
from edgessd.quantization.network import (
    QuantizedNetwork,
    calibrate,
    equalize,
    load_quantized,
    prepare_network,
    round_adaptively,
    save_quantized,
)
from edgessd.quantization.quantizer import LOGIT_FLOOR
from edgessd.spec import ModelSpec
from edgessd.training.augment import PRESETS, preset
from edgessd.training.config import TrainConfig
from edgessd.training.data import Batch, Batches, PictureSet, TrainingSet, make_loader, normalize
from edgessd.training.distill import distillation_loss, load_teacher, unlabelled_pictures
from edgessd.training.evaluate import evaluate_network
from edgessd.training.logs import write_csv
from edgessd.training.objective import Objective
from edgessd.training.schedule import learning_rate
from edgessd.training.sets import load_sets

Count = Annotated[int, Meta(ge=1)]
STATE = "state.safetensors"
_KEY = "edgessd.qat"
_FACTOR = "/factor"
# Pictures of the calibration set that are kept back, to measure the distance to the float network on.
HELD_OUT = 32
FREE_ON_RESUME = ("out", "threads", "workers")


class QatConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quantisation-aware training. `init`, `out` and `calibration` have no default.

    init: the float checkpoint. calibration: a folder of pictures; `calibration_images` of them are used.
    data, split, val_split, classes: a labelled set, as for `train`; left out, only a teacher is learnt from.
    teacher: a checkpoint with the same priors and classes, `init` itself where pictures have no labels.
    unlabelled: a folder of pictures for it. distill_weight: of its loss beside that of the labels.
    keep_float: see `quantizer.annotator`. recalibrate: after this share of the updates the ranges are measured
    anew. optimizer: `sgd` with momentum 0.9; lr: None is 1e-4 for `sgd` and 1e-5 for `adam`: batch norm is folded,
    which bears only a low one. augment: of the labelled pictures.
    metric: what `best.safetensors` is best in; without labels the distance to the float network decides.
    """

    init: str
    out: str
    calibration: str
    calibration_images: Count = 200
    data: str = ""
    split: str | None = None
    val_split: str | None = None
    classes: tuple[str, ...] = ()
    teacher: str = ""
    unlabelled: str = ""
    distill_weight: Annotated[float, Meta(ge=0)] = 1.0
    keep_float: tuple[str, ...] = ()
    epochs: Count = 4
    batch_size: Count = 16
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Meta(gt=0)] | None = None
    warmup: Annotated[int, Meta(ge=0)] = 20
    recalibrate: Annotated[float, Meta(gt=0, le=1)] = 0.7
    augment: str = "light"
    metric: Literal["voc07", "voc"] = "voc"
    seed: Annotated[int, Meta(ge=0)] = 0
    threads: Count | None = None
    workers: Annotated[int, Meta(ge=0)] = 0

    @property
    def learning_rate(self) -> float:
        """The given one, or the optimiser's default."""
        return self.lr if self.lr is not None else {"sgd": 1e-4, "adam": 1e-5}[self.optimizer]


@dataclass(frozen=True)
class QatResult:
    """What a run left behind: checkpoints that `export_model` takes, and a row for each epoch (0: not trained).

    best: weights rounded adaptively, the figures of `history` are such a network's. last: weights between the grid
    points, to go on from.
    """

    best: Path
    last: Path
    history: list[dict[str, float | None]]
    interrupted: int | None = None


def qat(config: QatConfig, *, resume: bool = False, say: Callable[[str], None] = print) -> QatResult:
    """Train a quantised network and return where it is.

    Raises OptionError for options that do not fit, InputError for the data, ModelError for checkpoints.
    """
    return _Run(config, resume, say).run()


def saved_config(out: str | Path) -> QatConfig:
    """Return the config of the run in a folder. Raises OptionError where there is none."""
    return _read_state(Path(out))[0]


class _Header(Struct, forbid_unknown_fields=True):
    config: QatConfig
    epoch: int
    best: float | None
    history: list[dict[str, float | None]]


class _Run:
    def __init__(self, config: QatConfig, resume: bool, say: Callable[[str], None]) -> None:
        self.config, self.say, self.out = config, say, Path(config.out)
        if not (config.data or config.unlabelled):
            raise OptionError("nothing to learn from: give a labelled set (--data) or pictures (--unlabelled)")
        saved = _read_state(self.out) if resume else None
        if saved is not None:
            _refuse_changes(saved[0], config)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.float_network, self.float_spec = load_checkpoint(config.init)
        if self.float_spec.quantization is not None:
            raise OptionError(f"{config.init} is quantised already: start from the float checkpoint")
        self.labelled, self.truth = self._sets()
        self.teacher = self._teacher()
        pictures = calibration_pictures(config.calibration, config.calibration_images + HELD_OUT)
        for line in pictures.failures:
            self.say(f"skipped: {line}")
        self.calibration, self.held_out = _split(pictures)
        self._make_folder(resume)
        self.epoch = 0
        self.best: float | None = None
        self.history: list[dict[str, float | None]] = []
        self.factors: dict[str, Tensor] = {}
        if saved is not None:
            self.network = load_quantized(self.out / "last.safetensors")
            self.epoch, self.best, self.history = saved[1], saved[2], saved[3]
            self.factors = {
                name.removesuffix(_FACTOR): value for name, value in saved[4].items() if name.endswith(_FACTOR)
            }
        else:
            self.network = prepare_network(self.float_network, self.float_spec, keep_float=config.keep_float)
            self.say(f"equalising and calibrating on {len(self.calibration.paths)} pictures")
            self.factors = equalize(self.network, self.calibration)
            calibrate(self.network, self.calibration, method="qat")
        for value in self.network.graph.parameters():
            value.requires_grad_(True)
            if value.dim() == 4:
                value.data = value.data.contiguous(memory_format=torch.channels_last)
        self.optimizer = _optimizer(self.network, config)
        if saved is not None:
            _load_moments(self.optimizer, self.network, saved[4])
        spec = self.network.spec
        loss = msgspec.structs.replace(self._train_config(), loss=spec.scores)
        self.objective = Objective(spec.priors, spec.coder, loss, torch.device("cpu"))
        self.pictures = (
            PictureSet(
                unlabelled_pictures(config.unlabelled), self.network.spec.input, PRESETS["light"], config.seed + 1
            )
            if config.unlabelled
            else None
        )
        self.dataset = (
            TrainingSet(self.labelled, self.network.spec.input, preset(config.augment), config.seed)
            if self.labelled is not None
            else None
        )
        length = len(self.dataset) if self.dataset is not None else len(self.pictures or ())
        self.steps = max(1, -(-length // config.batch_size))

    def run(self) -> QatResult:
        best, last = self.out / "best.safetensors", self.out / "last.safetensors"
        stopped: int | None = None
        with stop_on_signals() as stop:
            if not self.history:
                self._finish_epoch({"epoch": 0.0})
            while self.epoch < self.config.epochs and stopped is None:
                stopped = self._train_epoch(stop)
        if stopped is not None:
            self.say(f"stopped; epoch {self.epoch + 1} begins anew with: edgessd qat --resume --out {self.out}")
        else:
            self.say(f"done: {best}\nexport: edgessd export {best} -o {best.with_suffix('.onnx')}")
        return QatResult(best, last, self.history, stopped)

    def _train_epoch(self, stop: Stop) -> int | None:
        config = self.config
        pt2e.quantize_weights(self.network.graph, False)
        squares = [(value, self.factors[name].square()) for name, value in self._parameters() if name in self.factors]
        labelled = self._batches(self.dataset, config.seed)
        others = self._batches(self.pictures, config.seed + 1)
        total = self.steps * config.epochs
        again = int(total * config.recalibrate)
        losses, started = [], time.perf_counter()
        for step in range(self.steps):
            update = self.epoch * self.steps + step
            if update == again and update:
                self.say("measuring the ranges again")
                calibrate(self.network, self.calibration, method="qat")
                pt2e.quantize_weights(self.network.graph, False)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(update, total, config.learning_rate, "cosine", config.warmup, last=0.05)
            generator = torch.Generator().manual_seed(
                int(np.random.SeedSequence([config.seed, update]).generate_state(1)[0])
            )
            loss = self._loss(next(labelled, None), next(others, None), generator)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise OptionError(
                    f"the loss is no longer a number at update {update}: lower --lr; "
                    f"the last good epoch is in {self.out}"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            for parameter, square in squares:
                if parameter.grad is not None:
                    parameter.grad.mul_(square)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            losses.append(value)
            if stop.signal is not None:
                return stop.signal
        self.epoch += 1
        size = config.batch_size * ((self.dataset is not None) + (self.pictures is not None))
        speed = size * self.steps / (time.perf_counter() - started)
        self._finish_epoch(
            {"epoch": float(self.epoch), "loss": sum(losses) / len(losses), "images_per_second": round(speed, 2)}
        )
        return None

    def _loss(self, batch: Batch | None, other: Batch | None, generator: torch.Generator) -> Tensor:
        config, spec = self.config, self.network.spec
        images = [each.images for each in (batch, other) if each is not None]
        pictures = torch.cat(images)
        logits, offsets = self.network.graph(normalize(pictures, spec.input))
        total: Tensor = logits.new_zeros(())
        if batch is not None:
            matched = self.objective.match(batch)
            size = len(batch.images)
            normalizer = (matched >= 0).sum().clamp(min=1)
            total = self.objective.loss(logits[:size], offsets[:size], matched, batch, normalizer).total
        if self.teacher is not None:
            network, theirs = self.teacher
            # The pictures without labels are the teacher's; where there are none, it looks at all.
            first = len(pictures) - len(other.images) if other is not None else 0
            with torch.no_grad():
                wanted, places = network(normalize(pictures[first:], theirs.input))
            if spec.scores == "sigmoid":  # what lies below cannot be reached, nor can it be seen
                wanted = wanted.clamp(min=LOGIT_FLOOR)
            extra = distillation_loss((logits[first:], offsets[first:]), (wanted, places), spec.scores, generator)
            total = total + config.distill_weight * extra
        return total

    def _parameters(self) -> list[tuple[str, Tensor]]:
        return list(self.network.graph.named_parameters())

    def _finish_epoch(self, row: dict[str, float | None]) -> None:
        """Measure the converted network, keep it, and tell."""
        rounded = self.network.copied()
        round_adaptively(rounded, self.calibration)
        converted = rounded.converted(batch="dynamic", fold=True)
        away = distance(
            TorchRuntime((converted, self.network.spec)),
            TorchRuntime((self.float_network, self.float_spec)),
            list(self.held_out.paths),
        )
        row |= {"rms_boxes": away.boxes, "rms_scores": away.scores}
        value = -_judge(away)
        if self.truth is not None:
            score = evaluate_network(converted, self.network.spec, self.truth)  # type: ignore[arg-type]
            row["mAP_voc07"], row["mAP_voc"] = _none_if_nan(score.voc07), _none_if_nan(score.area)
            value = row[f"mAP_{self.config.metric}"] or 0.0
        self.history.append(row)
        improved = self.best is None or value > self.best
        if improved:
            self.best = value
        if improved:
            save_quantized(self.out / "best.safetensors", self._with_provenance(rounded, row))
        save_quantized(self.out / "last.safetensors", self._with_provenance(self.network, row))
        write_csv(self.out / "log.csv", self.history)
        self._save_state()
        self.say(", ".join(f"{key} {entry:.4g}" for key, entry in row.items() if entry is not None))

    def _with_provenance(self, network: QuantizedNetwork, row: dict[str, float | None]) -> QuantizedNetwork:
        spec = network.spec
        metrics = {f"val/{key}": round(value, 4) for key, value in row.items() if "mAP" in key and value is not None}
        weights = (
            f"edgessd qat, {int(row['epoch'] or 0)} epochs, from {self.float_spec.provenance.weights or 'a checkpoint'}"
        )
        provenance = msgspec.structs.replace(spec.provenance, weights=weights, metrics=metrics)
        return QuantizedNetwork(network.graph, msgspec.structs.replace(spec, provenance=provenance), network.recipe)

    # --- preparation ----------------------------------------------------------------------------------------

    def _sets(self) -> tuple[LabelledSet | None, LabelledSet | None]:
        config = self.config
        if not config.data:
            return None, None
        train, truth = load_sets(self._train_config())
        if ClassMap(train.classes, self.float_spec.classes).table.tolist() != [*range(len(self.float_spec.classes))]:
            raise OptionError(
                f"the classes of {config.data} ({', '.join(train.classes[:5])}, ...) are not the checkpoint's "
                f"({', '.join(self.float_spec.classes[:5])}, ...): train on these first"
            )
        return train, truth

    def _train_config(self) -> TrainConfig:
        """What `edgessd train` would be given for the labelled set."""
        config = self.config
        return TrainConfig(
            data=config.data,
            out=config.out,
            split=config.split,
            val_split=config.val_split,
            classes=tuple(config.classes or self.float_spec.classes),
        )

    def _teacher(self) -> tuple[SSD, ModelSpec] | None:
        config = self.config
        if not (config.teacher or config.unlabelled):
            return None
        if config.teacher:
            network, spec = load_teacher(config.teacher, self.float_spec)
        else:
            network, spec = self.float_network, self.float_spec
        folded = inference_copy(network, spec).requires_grad_(False)
        for value in folded.parameters():
            if value.dim() == 4:
                value.data = value.data.contiguous(memory_format=torch.channels_last)
        return folded, spec

    def _batches(self, dataset: TrainingSet | PictureSet | None, seed: int) -> Iterator[Batch]:
        """The batches of this epoch; a set that is shorter than the epoch begins again."""
        if dataset is None:
            return
        batches = Batches(len(dataset), self.config.batch_size, seed, self.epoch)
        turn = 0
        while True:
            yield from make_loader(dataset, batches, self.config.workers)
            turn += 1
            batches = Batches(len(dataset), self.config.batch_size, seed + 7919 * turn, self.epoch)

    def _make_folder(self, resume: bool) -> None:
        make_folder(self.out)
        if not resume and (self.out / STATE).exists():
            raise OptionError(f"{self.out} holds a run already: continue it with --resume, or name another --out")
        if not resume:
            results = [self.out / name for name in ("best.safetensors", "last.safetensors")]
            keep_sources(results, [self.config.init, self.config.teacher])

    def _save_state(self) -> None:
        tensors = {}
        for name, value in self.network.graph.named_parameters():
            for key, moment in self.optimizer.state.get(value, {}).items():
                if isinstance(moment, Tensor):
                    tensors[f"{name}/{key}"] = moment.detach().contiguous().clone()
        tensors |= {f"{name}{_FACTOR}": value.contiguous().clone() for name, value in self.factors.items()}
        header = msgspec.json.encode(_Header(self.config, self.epoch, self.best, self.history)).decode()
        try:
            with atomic_write(self.out / STATE) as temporary:
                save_file(tensors or {"none": torch.zeros(1)}, temporary, metadata={_KEY: header})
        except (InputError, OSError, SafetensorError) as error:
            raise ModelError(f"cannot save the state of the run to {self.out}: {error}") from None


def _read_state(
    out: Path,
) -> tuple[QatConfig, int, float | None, list[dict[str, float | None]], dict[str, Tensor]]:
    file = out / STATE
    try:
        with safe_open(str(file), framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
        header = msgspec.json.decode(metadata[_KEY], type=_Header)
    except FileNotFoundError:
        raise OptionError(f"there is no run to resume in {out}") from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
    return header.config, header.epoch, header.best, header.history, tensors


def _refuse_changes(saved: QatConfig, given: QatConfig) -> None:
    old, new = msgspec.to_builtins(saved), msgspec.to_builtins(given)
    changed = [f"{k}: {old[k]} -> {new[k]}" for k in old if k not in FREE_ON_RESUME and old[k] != new[k]]
    if changed:
        raise OptionError(
            f"the run in {given.out} was started with other arguments ({'; '.join(changed)}): leave them out"
        )


def _optimizer(network: QuantizedNetwork, config: QatConfig) -> torch.optim.Optimizer:
    values = list(network.graph.parameters())
    if config.optimizer == "adam":
        return torch.optim.Adam(values, lr=config.learning_rate)
    return torch.optim.SGD(values, lr=config.learning_rate, momentum=0.9)


def _load_moments(optimizer: torch.optim.Optimizer, network: QuantizedNetwork, tensors: dict[str, Tensor]) -> None:
    for name, value in network.graph.named_parameters():
        keys = [key for key in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer") if f"{name}/{key}" in tensors]
        if keys:
            optimizer.state[value] = {key: tensors[f"{name}/{key}"] for key in keys}


def _split(pictures: Calibration) -> tuple[Calibration, Calibration]:
    """Keep some pictures back, every n-th; a small set serves for both."""
    paths = pictures.paths
    if len(paths) < 2 * HELD_OUT:
        return pictures, pictures
    apart = set(range(0, len(paths), len(paths) // HELD_OUT))
    used = tuple(path for index, path in enumerate(paths) if index not in apart)
    kept = tuple(path for index, path in enumerate(paths) if index in apart)
    return hashed(used), Calibration(kept, "")


def _judge(away: Distance) -> float:
    """One figure for both outputs: errors as shares of what is usual (0.075 in boxes, 0.019 in scores)."""
    return away.boxes / 0.075 + away.scores / 0.019


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
