"""The progress bar of a training run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

from accelerate import Accelerator

from edgessd.training.config import TrainConfig
from edgessd.training.feed import Feed
from edgessd.training.state import Progress


class Shown(Protocol):
    """What is shown of a run, and how it speaks."""

    accelerator: Accelerator
    config: TrainConfig
    progress: Progress
    feed: Feed
    per_epoch: int
    say: Callable[[str], None]


class Display:
    """A bar on a terminal, nothing elsewhere; and the speed of the epoch, without the evaluation."""

    def __init__(self, trainer: Shown, *, enabled: bool) -> None:
        self._trainer = trainer
        self._enabled = enabled and trainer.accelerator.is_main_process
        self._bar: Any = None
        self._task: Any = None
        self._stack = ExitStack()
        self._restart()

    def __enter__(self) -> Display:
        if self._enabled:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console()
            if console.is_terminal:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                bar = Progress(*columns, TextColumn("{task.fields[shown]}"), console=console, transient=True)
                self._bar = self._stack.enter_context(bar)
                self._trainer.say = lambda line: console.print(line, highlight=False, soft_wrap=True)
                total = self._trainer.config.epochs * self._trainer.per_epoch
                self._task = self._bar.add_task(
                    "training", total=total, shown="", completed=self._trainer.progress.update
                )
        return self

    def step(self, losses: dict[str, float]) -> None:
        """Show an update."""
        if self._bar is None:
            return
        trainer = self._trainer
        parts = " ".join(f"{name.removeprefix('loss_')} {value:.2f}" for name, value in losses.items())
        self._bar.update(
            self._task,
            completed=trainer.progress.update,
            description=f"epoch {trainer.progress.epoch + 1}/{trainer.config.epochs}",
            shown=f"{parts}  {self._speed():.0f} images/s",
        )

    def note(self, text: str) -> None:
        """Say what is being done in the place of the losses."""
        if self._bar is not None:
            self._bar.update(self._task, shown=text)

    def epoch_speed(self) -> float:
        """Images a second since the epoch began or was resumed; starts the next measurement."""
        speed = self._speed()
        self._restart()
        return speed

    def _speed(self) -> float:
        progress = self._trainer.progress
        images = progress.images - self._images
        return images / max(1e-9, progress.seconds - self._seconds)

    def _restart(self) -> None:
        progress = self._trainer.progress
        self._seconds = progress.seconds
        # The counter starts at 0 with every epoch; in the middle of one it is a resumed run's.
        self._images = progress.images if progress.step and progress.step < self._steps() else 0

    def _steps(self) -> int:
        return self._trainer.feed.steps

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
