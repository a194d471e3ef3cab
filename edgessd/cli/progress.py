"""Progress on the terminal, for work that takes longer than one likes to wait for without a word."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds


class LateProgress:
    """Context manager that shows a bar on stderr after `PATIENCE` seconds; without a terminal it shows nothing."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False)
        self._began = time.monotonic()
        self._bars: Progress | None = None

    def update(self, text: str, done: int, total: int | None) -> None:
        """Say what is done now; total: None where nobody knows it."""
        if not self._console.is_terminal or time.monotonic() - self._began < PATIENCE:
            return
        if self._bars is None:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._bars = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._bars.start()
            self._bars.add_task(text, total=total)
        task = self._bars.tasks[0]
        if task.description != text and task.completed > done:  # another video: its speed is measured anew
            self._bars.reset(task.id, total=total)
        self._bars.update(task.id, description=text, completed=done, total=total)

    def __enter__(self) -> LateProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
