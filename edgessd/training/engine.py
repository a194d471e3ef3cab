"""A run of training, on Hugging Face Accelerate: one process or many, CPU or GPU, the same code.

What makes runs repeatable and resumable: the order of the data, every augmentation and the input size depend on
(seed, epoch, sample or step), other random numbers on (seed, update, process), the learning rate on the update. So
the state of a run is its weights, their average, the optimiser's buffers and a few numbers.

The parts of a run, a file each: `sets` data, `feed` batches, `network` and `subject` the network, `scales` its input
sizes, `objective` matching and loss, `update` one step of the optimiser, `failures` what goes wrong in it, `record`
and `state` what is written, `device` where it computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from edgessd._memory import kept
from edgessd._signals import Stop, stop_on_signals
from edgessd.errors import ModelError, OptionError
from edgessd.io.files import make_folder, write_text_atomic
from edgessd.io.targets import keep_sources
from edgessd.training.config import TrainConfig, differences, to_file
from edgessd.training.device import channels_last, make_accelerator
from edgessd.training.display import Display
from edgessd.training.distill import load_teacher
from edgessd.training.ema import MovingAverage
from edgessd.training.evaluate import evaluate_network
from edgessd.training.failures import give_up, note_unreadable
from edgessd.training.feed import Feed
from edgessd.training.logs import Board
from edgessd.training.network import build_network
from edgessd.training.objective import Objective
from edgessd.training.optimizer import make_optimizer
from edgessd.training.record import BEST, LAST, Row, done_lines, epoch_line, score_columns, write_epoch, write_last
from edgessd.training.scales import priors_of_sizes
from edgessd.training.sets import load_sets
from edgessd.training.state import Progress, State, load_optimizer, load_state, optimizer_tensors, save_state
from edgessd.training.subject import Subject, check_batch
from edgessd.training.update import Group, NotFiniteError, Updater


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
    history: list[Row]
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
    return load_state(Path(out)).config


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
            _refuse_changes(saved, config)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.accelerator = make_accelerator(config)
        device, rank, world = self.accelerator.device, self.accelerator.process_index, self.accelerator.num_processes
        self.say: Callable[[str], None] = say if self.accelerator.is_main_process else lambda line: None
        self.data, self.truth = load_sets(config)
        if saved is not None and (saved.classes, saved.pictures) != (self.data.classes, len(self.data)):
            raise OptionError(
                f"the data of the run in {self.out} has changed: {saved.pictures} pictures with "
                f"{len(saved.classes)} classes then, {len(self.data)} with {len(self.data.classes)} now; "
                "start a new run"
            )
        torch.manual_seed(config.seed)
        shell, self.spec, report = build_network(config, self.data.classes, self.data)
        priors = priors_of_sizes(shell, self.spec, config.sizes)
        check_batch(shell, config, priors.values())
        self.progress = Progress() if saved is None else saved.progress
        self._make_folder(resume)
        if report is not None and saved is None:
            for line in report.lines():
                self.say(line)
        if world > 1:
            self.say(f"{world} processes, {world * config.batch_size} pictures in each step of them all")
        teacher = load_teacher(config.teacher, self.spec) if config.teacher else None
        self.feed = Feed(config, self.data, self.spec.input, device, rank, world)
        self.per_epoch = -(-self.feed.steps // config.accumulate)
        pictures = self.feed.plain if saved is None else None
        self.subject = Subject(shell, self.spec, config, pictures=pictures, say=self.say)
        network: nn.Module = self.subject.network
        optimizer = make_optimizer(network, config)
        if saved is not None:
            self._load(network, saved.groups["model"])
            load_optimizer(optimizer, saved.groups.get("optimizer", {}))
        network.to(device)
        self.average = MovingAverage(network, config.ema) if config.ema else None
        if saved is not None and self.average is not None:
            self.average.load(saved.groups["ema"], self.progress.ema_updates)
        self.network: nn.Module
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        if teacher is not None:
            channels_last(teacher[0].to(device))
        self.update = Updater(
            config,
            self.spec,
            self.accelerator,
            self.network,
            self.optimizer,
            self.average,
            {size: Objective(table, self.spec.coder, config, device) for size, table in priors.items()},
            teacher,
            total=self.per_epoch * config.epochs,
        )

    def run(self) -> TrainResult:
        """Train to the end, or to a signal."""
        config, progress = self.config, self.progress
        board = Board(self.out / "tensorboard", progress.update) if self.accelerator.is_main_process else None
        if progress.update:
            self.say(f"continuing at epoch {progress.epoch + 1} of {config.epochs}, update {progress.update}")
        stopped: int | None = None
        on_cpu = self.accelerator.device.type == "cpu"
        with kept(enabled=on_cpu), stop_on_signals() as wish, Display(self, enabled=config.progress) as display:
            while progress.epoch < config.epochs and stopped is None:
                stopped = self._epoch(wish, display, board)
                if stopped is None:
                    self._finish_epoch(display, board)
        if board is not None:
            board.close()
        best, last = self.out / BEST, self.out / LAST
        if stopped is not None:
            shell = self.subject.show(self._tensors())
            if self.accelerator.is_main_process:
                write_last(self.out, shell, self.spec, progress.history)
            self.say(f"stopped and saved; go on with: edgessd train --resume --out {self.out}")
        else:
            self.say(done_lines(best, progress.best, config))
        return TrainResult(best if best.exists() else last, last, progress.best, progress.history, stopped)

    def _epoch(self, wish: Stop, display: Display, board: Board | None) -> int | None:
        """Train to the end of the epoch; return the signal that stopped it, if one did."""
        config, progress, steps = self.config, self.progress, self.feed.steps
        self.subject.train(self.network)
        batches = self.feed.epoch(progress.epoch, progress.step)
        while progress.step < steps:
            started = time.perf_counter()
            group = list(islice(batches, min(config.accumulate, steps - progress.step)))
            losses, stop = self._update(group, wish)
            progress.step += len(group)
            progress.update += 1
            progress.updates += 1
            progress.images += sum(len(batch.images) for batch, _ in group) * self.accelerator.num_processes
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

    def _update(self, group: Group, wish: Stop) -> tuple[dict[str, float], int | None]:
        note_unreadable(
            [batch for batch, _ in group],
            self.progress.unreadable,
            out=self.out,
            pictures=len(self.data),
            share=self.config.max_failed,
            say=self.say,
        )
        number = self.progress.update
        try:
            return self.update(number, group, wish)
        except NotFiniteError as error:
            give_up(error, group, self.data, out=self.out, update=number, process=self.accelerator.process_index)

    def _finish_epoch(self, display: Display, board: Board | None) -> None:
        """Evaluate, write everything down, and say how it went."""
        config, progress = self.config, self.progress
        progress.epoch += 1
        rate = self.optimizer.param_groups[0]["lr"]
        row: Row = {"epoch": float(progress.epoch), "update": float(progress.update), "lr": rate}
        row |= {name: value / max(1, progress.updates) for name, value in progress.sums.items()}
        row["images_per_second"] = display.epoch_speed()
        shell = self.subject.show(self._tensors())
        improved = self.truth is None
        if self.truth is not None and (progress.epoch % config.eval_every == 0 or progress.epoch == config.epochs):
            display.note("evaluating")
            row |= score_columns(evaluate_network(shell, self.spec, self.truth, self.accelerator), config.metric)
            value = row[f"mAP_{config.metric}"]
            # The first evaluation is kept in any case, also where no class has an object to find.
            improved = progress.best is None or (value is not None and value > progress.best)
            if improved:
                progress.best = value if value is not None else 0.0
        progress.history.append(row)
        progress.step, progress.images, progress.updates, progress.sums = 0, 0, 0, {}
        if self.accelerator.is_main_process:
            write_epoch(self.out, shell, self.spec, progress.history, improved=improved, config=config)
            if board is not None:
                board.add(progress.update, {f"epoch/{name}": value for name, value in row.items()})
        self._save_state()
        self.say(epoch_line(row, config.epochs))

    def _tensors(self) -> dict[str, Tensor]:
        """The weights that count: the average, where there is one."""
        return self.average.tensors if self.average is not None else self.subject.network.state_dict()

    def _save_state(self) -> None:
        if self.average is not None:
            self.progress.ema_updates = self.average.updates
        if self.accelerator.is_main_process:
            groups = {
                "model": self.subject.network.state_dict(),
                "optimizer": optimizer_tensors(self.optimizer),
                "ema": {} if self.average is None else self.average.tensors,
            }
            save_state(self.out, self.config, self.progress, self.data.classes, len(self.data), groups)

    def _make_folder(self, resume: bool) -> None:
        if self.accelerator.is_main_process:
            make_folder(self.out)
            if not resume and (self.out / "state.safetensors").exists():
                raise OptionError(f"{self.out} holds a run already: continue it with --resume, or name another --out")
            if not resume:
                keep_sources([self.out / BEST, self.out / LAST], [self.config.init, self.config.teacher])
            write_text_atomic(self.out / "config.toml", to_file(self.config))
        self.accelerator.wait_for_everyone()

    def _load(self, network: nn.Module, state: dict[str, Tensor]) -> None:
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise ModelError(f"the state in {self.out} is of another network: start a new run") from None


def _refuse_changes(saved: State, config: TrainConfig) -> None:
    changed = differences(saved.config, config)
    if changed:
        raise OptionError(
            f"the run in {config.out} was started with other arguments ({'; '.join(changed)}): "
            "leave them out to continue it, or start a new run in another folder"
        )
