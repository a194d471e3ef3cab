"""The training loop, on Hugging Face Accelerate: one process or many, CPU or GPU, the same code.

What makes runs repeatable and resumable: the order of the data and every augmentation depend on
(seed, epoch, sample), other random numbers on (seed, update, process), the learning rate on the update. So the
state of a run is its weights, their average, the optimiser's buffers and a few numbers.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edgessd.errors import InputError, ModelError, OptionError
from edgessd.io.files import atomic_write, write_text_atomic
from edgessd.models.checkpoint import save_checkpoint
from edgessd.models.ssd import SSD
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import ModelSpec
from edgessd.training.augment import PRESETS
from edgessd.training.config import TrainConfig, differences
from edgessd.training.data import Batch, Batches, Item, PictureSet, TrainingSet, make_loader, normalize
from edgessd.training.depthwise import speed_up
from edgessd.training.display import Display, workers_for
from edgessd.training.distill import distillation_loss, load_teacher, unlabelled_pictures
from edgessd.training.ema import MovingAverage
from edgessd.training.evaluate import evaluate_network
from edgessd.training.interrupt import Interrupt
from edgessd.training.logs import Board, draw_curves, write_csv
from edgessd.training.loss import MULTIBOX_ALPHA, MultiBoxLoss
from edgessd.training.matching import IGNORED, match
from edgessd.training.memory import kept
from edgessd.training.network import build_network
from edgessd.training.norm import Folded, freeze, is_folded, norms, reestimate
from edgessd.training.schedule import learning_rate
from edgessd.training.sets import load_sets
from edgessd.training.state import Progress, load_optimizer, load_state, optimizer_tensors, save_state

PARTS = ("loss", "loss_classes", "loss_boxes", "loss_distill")
# Pictures from which batch norm is measured again.
REESTIMATION_PICTURES = 256


@dataclass(frozen=True)
class TrainResult:
    """What a run left behind.

    best, last: checkpoints; `best` equals `last` where nothing was evaluated. metric: the best mAP, 0..1, None
    where nothing was evaluated. history: one row an epoch, as in `log.csv`. interrupted: the number of the signal
    that stopped the run.
    """

    best: Path
    last: Path
    metric: float | None
    history: list[dict[str, float | None]]
    interrupted: int | None = None


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
    after_update: Callable[[int, float], None] | None = None,
) -> TrainResult:
    """Train a detector and return where it is.

    resume: continue the run in `config.out`; its arguments must be the same, see `config.FREE_ON_RESUME`.
    say: takes the lines that a person should read; default print. after_update: called with the number of the
    update and its loss.

    >>> from edgessd.training import TrainConfig, train
    >>> train(TrainConfig(data="VOC2007", out="runs/dogs", backbone="timm:mobilenetv2_100", classes=("dog",)))

    Raises OptionError for options that do not fit and where the loss is no longer a number (the batch is saved),
    InputError for the data, ModelError for weights and for a disk that takes no more.
    """
    return Trainer(config, resume=resume, say=say or print, after_update=after_update).run()


def saved_config(out: str | Path) -> TrainConfig:
    """Return the config of the run in a folder. Raises OptionError where there is none."""
    return load_state(Path(out))[0]


class Trainer:
    """One run. It is made and run once; `train` is the way to use it."""

    def __init__(
        self,
        config: TrainConfig,
        *,
        resume: bool,
        say: Callable[[str], None],
        after_update: Callable[[int, float], None] | None,
    ) -> None:
        self.config = config
        self.after_update = after_update
        self.out = Path(config.out)
        saved = load_state(self.out) if resume else None
        if saved is not None:
            changed = differences(saved[0], config)
            if changed:
                raise OptionError(
                    f"the run in {self.out} was started with other arguments ({'; '.join(changed)}): "
                    "leave them out to continue it, or start a new run in another folder"
                )
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.accelerator = _accelerator(config)
        self.say: Callable[[str], None] = say if self.accelerator.is_main_process else lambda line: None
        self.data, self.truth = load_sets(config)
        if saved is not None and (saved[2], saved[3]) != (self.data.classes, len(self.data)):
            raise OptionError(
                f"the data of the run in {self.out} has changed: {saved[3]} pictures with {len(saved[2])} classes "
                f"then, {len(self.data)} with {len(self.data.classes)} now; start a new run"
            )
        torch.manual_seed(config.seed)
        self.shell, self.spec, report = build_network(config, self.data.classes)
        self.progress = Progress() if saved is None else saved[1]
        self._make_folder(resume)
        if report is not None and saved is None:
            for line in report.lines():
                self.say(line)
        self.teacher = load_teacher(config.teacher, self.spec) if config.teacher else None
        self._check_batch()
        self.folded, network = self._prepare_norm(fresh=saved is None)
        _channels_last(network)
        speed_up(network)
        optimizer = _optimizer(network, config)
        if saved is not None:
            self._load(network, saved[4]["model"])
            load_optimizer(optimizer, saved[4].get("optimizer", {}))
        network.to(self.accelerator.device)
        self.average = MovingAverage(network, config.ema) if config.ema else None
        if saved is not None and self.average is not None:
            self.average.load(saved[4]["ema"], self.progress.ema_updates)
        self.network: nn.Module
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        if self.teacher is not None:
            _channels_last(self.teacher[0].to(self.accelerator.device))
        priors = torch.from_numpy(prior_boxes(self.spec.priors).copy())
        self.active = (
            torch.from_numpy(inside_mask(self.spec.priors).copy()) if self.spec.priors.exclude_boundary else None
        )
        alpha = config.alpha if config.alpha is not None else MULTIBOX_ALPHA if config.loss == "multibox" else 1.0
        criterion = MultiBoxLoss(
            priors, self.spec.coder, config.loss, alpha=alpha, negative_ratio=config.negative_ratio
        )
        self.criterion = criterion.to(self.accelerator.device)
        if self.active is not None:
            self.active = self.active.to(self.accelerator.device)
        self.dataset = TrainingSet(self.data, self.spec.input, config.augmentation, config.seed)
        self.pictures = self._unlabelled()
        self.steps = self._batches(0).steps
        self.per_epoch = -(-self.steps // config.accumulate)

    def run(self) -> TrainResult:
        """Train to the end, or to a signal."""
        config, progress = self.config, self.progress
        board = Board(self.out / "tensorboard", progress.update) if self.accelerator.is_main_process else None
        if progress.update:
            self.say(f"continuing at epoch {progress.epoch + 1} of {config.epochs}, update {progress.update}")
        stopped: int | None = None
        on_cpu = self.accelerator.device.type == "cpu"
        with kept(enabled=on_cpu), Interrupt() as interrupt, Display(self, enabled=config.progress) as display:
            while progress.epoch < config.epochs and stopped is None:
                stopped = self._epoch(interrupt, display, board)
                if stopped is None:
                    self._finish_epoch(display, board)
        if board is not None:
            board.close()
        best, last = self.out / "best.safetensors", self.out / "last.safetensors"
        if stopped is not None:
            self._save_last()
            self.say(f"stopped and saved; go on with: edgessd train --resume --out {self.out}")
        else:
            metric = "" if progress.best is None else f" (mAP {100 * progress.best:.1f})"
            self.say(
                f"done: {best}{metric}\n"
                f"evaluate: edgessd evaluate {best} --data {config.val_data or config.data}"
                f"{f' --split {config.val_split}' if config.val_split else ''}\n"
                f"export:   edgessd export {best} -o {best.with_suffix('.onnx')}"
            )
        return TrainResult(best if best.exists() else last, last, progress.best, progress.history, stopped)

    # --- steps ---------------------------------------------------------------------------------------------

    def _epoch(self, interrupt: Interrupt, display: Display, board: Board | None) -> int | None:
        """Train to the end of the epoch; return the signal that stopped it, if one did."""
        config, progress = self.config, self.progress
        loader = self._loader(progress.epoch, progress.step)
        extra = self._extra_batches(progress.epoch, progress.step)
        self._mode()
        batches = iter(loader)
        while progress.step < self.steps:
            started = time.perf_counter()
            count = min(config.accumulate, self.steps - progress.step)
            group = [batch.to(self.accelerator.device) for batch in islice(batches, count)]
            others = [next(extra) for _ in group] if extra is not None else []
            self._note_failures(group)
            losses, stop = self._update(group, others, interrupt)
            progress.step += len(group)
            progress.update += 1
            progress.updates += 1
            progress.images += sum(len(batch.images) for batch in group) * self.accelerator.num_processes
            for name, value in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.seconds += time.perf_counter() - started
            display.step(losses)
            if board is not None and progress.update % 10 == 0:
                board.add(progress.update, {f"train/{name}": value for name, value in losses.items()})
            if self.after_update is not None:
                self.after_update(progress.update, losses["loss"])
            if stop is not None or (config.save_every and progress.update % config.save_every == 0):
                self._save_state()
            if stop is not None:
                return stop
        return None

    def _update(
        self, group: list[Batch], others: list[Batch], interrupt: Interrupt
    ) -> tuple[dict[str, float], int | None]:
        """One step of the optimiser over a group of batches; returns its losses, and a signal that came."""
        config, world = self.config, self.accelerator.num_processes
        update = self.progress.update
        rate = learning_rate(
            update, self.per_epoch * config.epochs, config.learning_rate, config.schedule, config.warmup
        )
        for entry in self.optimizer.param_groups:
            entry["lr"] = rate
        seed = int(np.random.SeedSequence([config.seed, update, self.accelerator.process_index]).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout and stochastic depth
        generator = torch.Generator().manual_seed(seed)
        matches = [self._match(batch) for batch in group]
        # The number of matched priors of all batches and processes: the loss is that of one large batch.
        positives = torch.stack([(matched >= 0).sum() for matched in matches]).sum()
        if world > 1:
            positives = self.accelerator.reduce(positives, "sum")
        normalizer = positives.clamp(min=1)
        parts = torch.zeros(len(PARTS) + 1, device=self.accelerator.device)
        for number, (batch, matched) in enumerate(zip(group, matches, strict=True)):
            last = number == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                total, shown = self._forward(batch, matched, others[number] if others else None, normalizer, generator)
                # Accelerate averages gradients over the processes; the normaliser already counts them all.
                self.accelerator.backward(total * world)
            parts[: len(PARTS)] += shown
        if interrupt.signal is not None:
            parts[-1] = interrupt.signal
        if world > 1:
            finite = bool(torch.isfinite(parts).all())
            parts = self.accelerator.reduce(parts, "sum")
        else:
            finite = True
        norm: Tensor | None = None
        if config.clip:
            norm = self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
        values = parts.tolist()
        if not math.isfinite(values[0]) or (norm is not None and not bool(torch.isfinite(norm))):
            self._give_up(group, others, rate, saves=world == 1 or not finite or math.isfinite(values[0]))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.accelerator.unwrap_model(self.network))
        losses = dict(zip(PARTS, values, strict=False))
        if self.teacher is None:
            del losses["loss_distill"]
        return losses, int(values[-1]) or None

    def _match(self, batch: Batch) -> Tensor:
        config = self.config
        matched = match(
            self.criterion.priors,
            batch.boxes,
            batch.valid,
            None if config.loss == "multibox" else config.iou_threshold,
            ignore=batch.ignore if config.difficult == "ignore" else None,
            crowd=batch.crowd,
            active=self.active,
        )
        matched[~batch.usable] = IGNORED
        return matched

    def _forward(
        self, batch: Batch, matched: Tensor, other: Batch | None, normalizer: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Loss of one batch, and its parts in the order of PARTS."""
        pictures = batch.images if other is None else torch.cat([batch.images, other.images])
        logits, offsets = self.network(normalize(pictures, self.spec.input))
        size = len(batch.images)
        losses = self.criterion(logits[:size], offsets[:size], matched, batch.boxes, batch.labels, normalizer)
        total = losses.total
        shown = [losses.classes, losses.boxes, total.new_zeros(())]
        if self.teacher is not None:
            teacher, theirs = self.teacher
            first = 0 if other is None else size  # without pictures of its own the teacher looks at the labelled ones
            with torch.no_grad(), self.accelerator.autocast():
                targets = teacher(normalize(pictures[first:], theirs.input))
            extra = distillation_loss((logits[first:], offsets[first:]), targets, self.spec.scores, generator)
            extra = extra * self.config.distill_weight / self.accelerator.num_processes
            total = total + extra
            shown[2] = extra
        return total, torch.stack([total, *shown]).detach()

    def _give_up(self, group: list[Batch], others: list[Batch], rate: float, *, saves: bool) -> None:
        path = self.out / f"bad_batch_{self.progress.update}_process{self.accelerator.process_index}.npz"
        if saves:
            arrays: dict[str, Any] = {}
            for number, batch in enumerate(group):
                for name in ("images", "boxes", "labels", "valid", "indices"):
                    arrays[f"{name}_{number}"] = getattr(batch, name).cpu().numpy()
                paths = [str(self.data.samples[index].image) for index in batch.indices.tolist()]
                arrays[f"paths_{number}"] = np.array(paths, dtype=str)
            for number, batch in enumerate(others):
                arrays[f"unlabelled_{number}"] = batch.images.cpu().numpy()
            with atomic_write(path) as temporary:
                np.savez_compressed(temporary, **arrays)
        raise OptionError(
            f"the loss or its gradient is no longer a number at update {self.progress.update} "
            f"(learning rate {rate:.2g}): lower --lr or raise --warmup; the batch is in {path}, "
            f"the last good weights in {self.out}"
        )

    def _note_failures(self, group: list[Batch]) -> None:
        unreadable = self.progress.unreadable
        for batch in group:
            for index, reason in batch.failures:
                if index not in unreadable:
                    unreadable[index] = reason
                    self.say(f"skipped: {reason}")
        if unreadable:
            write_text_atomic(self.out / "unreadable.txt", "\n".join(unreadable.values()) + "\n")
        if len(unreadable) > self.config.max_failed * len(self.data):
            raise InputError(
                f"{len(unreadable)} of {len(self.data)} pictures cannot be read, more than "
                f"{self.config.max_failed:.0%}: mend or remove them, they are listed in {self.out / 'unreadable.txt'}"
            )

    # --- ends of epochs ------------------------------------------------------------------------------------

    def _finish_epoch(self, display: Display, board: Board | None) -> None:
        config, progress = self.config, self.progress
        progress.epoch += 1
        rate = self.optimizer.param_groups[0]["lr"]
        row: dict[str, float | None] = {"epoch": float(progress.epoch), "update": float(progress.update), "lr": rate}
        row |= {name: value / max(1, progress.updates) for name, value in progress.sums.items()}
        row["images_per_second"] = display.epoch_speed()
        self._load_shell()
        due = progress.epoch % config.eval_every == 0 or progress.epoch == config.epochs
        improved = self.truth is None
        if due and self.truth is not None:
            display.note("evaluating")
            score = evaluate_network(self.shell, self.spec, self.truth, self.accelerator)
            row["mAP_voc07"], row["mAP_voc"] = _number(score.voc07), _number(score.area)
            by_class = score.voc07_by_class if config.metric == "voc07" else score.area_by_class
            row |= {f"AP/{name}": _number(value) for name, value in by_class.items()}
            value = row[f"mAP_{config.metric}"]
            # The first evaluation is kept in any case, also where no class has an object to find.
            improved = progress.best is None or (value is not None and value > progress.best)
            if improved:
                progress.best = value if value is not None else 0.0
        progress.history.append(row)
        progress.step, progress.images, progress.updates, progress.sums = 0, 0, 0, {}
        if self.accelerator.is_main_process:
            if improved:
                save_checkpoint(self.out / "best.safetensors", self.shell, self._described(row))
            save_checkpoint(self.out / "last.safetensors", self.shell, self._described(row))
            write_csv(self.out / "log.csv", progress.history)
            draw_curves(self.out / "curves.png", progress.history, f"mAP_{config.metric}")
            if board is not None:
                board.add(progress.update, {f"epoch/{name}": value for name, value in row.items()})
        self._save_state()
        self.say(_line(row, config))
        self._mode()

    def _described(self, row: dict[str, float | None]) -> ModelSpec:
        """The spec with what was measured on it."""
        metrics = {
            f"val/{name}": round(value, 4)
            for name, value in row.items()
            if name.startswith("mAP") and value is not None
        }
        provenance = msgspec.structs.replace(
            self.spec.provenance, weights=f"edgessd train, {int(row['epoch'] or 0)} epochs", metrics=metrics
        )
        return msgspec.structs.replace(self.spec, provenance=provenance)

    def _tensors(self) -> dict[str, Tensor]:
        return self.average.tensors if self.average is not None else self._network_state()

    def _network_state(self) -> dict[str, Tensor]:
        return dict(self.accelerator.unwrap_model(self.network).state_dict())

    def _load_shell(self) -> None:
        """Put the weights that count (the average, where there is one) into the network that is saved and evaluated."""
        state = self._tensors()
        self.shell.load_state_dict(state if self.folded is None else self.folded.restore(state))
        self.shell.eval()

    def _save_last(self) -> None:
        self._load_shell()
        if self.accelerator.is_main_process:
            row = self.progress.history[-1] if self.progress.history else {"epoch": 0.0}
            save_checkpoint(self.out / "last.safetensors", self.shell, self._described({"epoch": row["epoch"]}))

    def _save_state(self) -> None:
        if self.average is not None:
            self.progress.ema_updates = self.average.updates
        if self.accelerator.is_main_process:
            groups = {
                "model": self._network_state(),
                "optimizer": optimizer_tensors(self.optimizer),
                "ema": {} if self.average is None else self.average.tensors,
            }
            save_state(self.out, self.config, self.progress, self.data.classes, len(self.data), groups)

    # --- preparation ---------------------------------------------------------------------------------------

    def _make_folder(self, resume: bool) -> None:
        if self.accelerator.is_main_process:
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OptionError(f"the folder {self.out} cannot be made: {error.strerror}") from None
            if not resume and (self.out / "state.safetensors").exists():
                raise OptionError(f"{self.out} holds a run already: continue it with --resume, or name another --out")
        self.accelerator.wait_for_everyone()

    def _check_batch(self) -> None:
        moving = self.config.norm in ("train", "reestimated") or (
            self.config.norm == "auto" and not is_folded(self.shell)
        )
        single = any((level.rows, level.columns) == (1, 1) for level in self.spec.priors.levels)
        if self.config.batch_size == 1 and moving and single and norms(self.shell):
            raise OptionError(
                "batch norm cannot be trained on single pictures: use a batch of 2 or more, or norm 'frozen'"
            )

    def _prepare_norm(self, *, fresh: bool) -> tuple[Folded | None, nn.Module]:
        """Return the network to train: the shell's copy, or the folded one."""
        mode = self.config.norm
        if mode == "auto":
            mode = "folded" if is_folded(self.shell) else "train"
        self.frozen = mode == "frozen"
        width, height = self.spec.input.width, self.spec.input.height
        if mode == "folded" and norms(self.shell):
            generator = torch.Generator().manual_seed(0)
            folded = Folded(self.shell, torch.randn(1, 3, height, width, generator=generator))
            return folded, self._freeze_backbone(folded.network)
        network = copy.deepcopy(self.shell)
        if mode == "reestimated" and fresh:
            self.say("measuring batch norm on the training data")
            reestimate(network, self._plain_pictures())
        return None, self._freeze_backbone(network)

    def _freeze_backbone(self, network: SSD) -> SSD:
        if self.config.freeze_backbone:
            network.backbone.requires_grad_(False)
        return network

    def _plain_pictures(self) -> Iterator[Tensor]:
        dataset = TrainingSet(self.data, self.spec.input, self.config.augmentation, self.config.seed)
        size = min(32, self.config.batch_size)
        loader = make_loader(dataset, Batches(len(dataset), size, self.config.seed, 0), self._workers())
        for batch in islice(loader, -(-REESTIMATION_PICTURES // size)):
            yield normalize(batch.images, self.spec.input)

    def _mode(self) -> None:
        self.network.train()
        network: Any = self.accelerator.unwrap_model(self.network)
        if self.frozen:
            freeze(network)
        if self.config.freeze_backbone:
            freeze(network.backbone)

    def _load(self, network: nn.Module, state: dict[str, Tensor]) -> None:
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise ModelError(f"the state in {self.out} is of another network: start a new run") from None

    def _workers(self) -> int:
        return workers_for(self.config.workers, self.accelerator.num_processes)

    def _batches(self, epoch: int, start: int = 0) -> Batches:
        return Batches(
            len(self.data),
            self.config.batch_size,
            self.config.seed,
            epoch,
            start=start,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )

    def _loader(self, epoch: int, start: int) -> DataLoader[Item]:
        pin = self.accelerator.device.type == "cuda"
        return make_loader(self.dataset, self._batches(epoch, start), self._workers(), pin=pin)

    def _unlabelled(self) -> PictureSet | None:
        if not self.config.unlabelled:
            return None
        return PictureSet(
            unlabelled_pictures(self.config.unlabelled), self.spec.input, PRESETS["light"], self.config.seed + 1
        )

    def _extra_batches(self, epoch: int, start: int) -> Iterator[Batch] | None:
        """Batches of unlabelled pictures, as many as the epoch has steps left."""
        if self.pictures is None:
            return None
        size = self.config.unlabelled_batch or self.config.batch_size
        # Epochs of the unlabelled set are as long as those of the labelled one: its permutation goes on over them.
        batches = _Endless(
            len(self.pictures),
            size,
            self.config.seed + 1,
            epoch,
            start=start,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            steps=self.steps,
        )
        loader = make_loader(self.pictures, batches, self._workers())
        return (batch.to(self.accelerator.device) for batch in loader)


class _Endless(Batches):
    """Batches of a set whose epochs are as long as another set's."""

    def __init__(self, *args: Any, steps: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps = steps

    @property
    def steps(self) -> int:
        """As many as the other set has."""
        return self._steps


def _accelerator(config: TrainConfig) -> Accelerator:
    amp = config.amp
    if amp == "auto":
        amp = "bf16" if _bf16_is_faster(config.device) else "no"
    if AcceleratorState._shared_state:  # an earlier run of this process may have had another precision
        AcceleratorState._reset_state()
    return Accelerator(mixed_precision=amp, cpu=config.device == "cpu")


def _bf16_is_faster(device: str | None) -> bool:
    """Say whether the processor or GPU computes in bfloat16; where it only emulates it, it is several times slower."""
    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.get_device_capability()[0] >= 8)
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [value for value in network.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in trained if value.dim() > 1], "weight_decay": config.decay},
        {"params": [value for value in trained if value.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def _channels_last(network: nn.Module) -> None:
    """Store the weights of convolutions channels last: twice as fast on processors, and no slower on GPUs."""
    for value in network.parameters():
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _line(row: dict[str, float | None], config: TrainConfig) -> str:
    parts = [f"epoch {int(row['epoch'] or 0)}/{config.epochs}", f"loss {row['loss']:.3f}"]
    parts += [f"{name.removeprefix('loss_')} {row[name]:.3f}" for name in PARTS[1:] if name in row]
    if "mAP_voc" in row:
        values = [(label, row[f"mAP_{key}"]) for key, label in (("voc07", "VOC07"), ("voc", "area"))]
        parts.append(
            "mAP " + " ".join(f"{label} {'-' if value is None else f'{100 * value:.1f}'}" for label, value in values)
        )
    parts.append(f"{row['images_per_second']:.1f} images/s")
    return ", ".join(parts)
