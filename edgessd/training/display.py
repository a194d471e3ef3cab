"""The progress bar, and how many loader processes a machine should have."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgessd.training.engine import Trainer


def workers_for(wanted: int | None, processes: int) -> int:
    """Return `wanted`, or the processors less one shared among the training processes, 1 to 8 of them."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, (cores - 1) // max(1, processes)))


class Display:
    """A bar on a terminal, nothing elsewhere; and the speed of the epoch, without the evaluation."""

    def __init__(self, trainer: Trainer, *, enabled: bool) -> None:
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
