"""Runs tasks, each in a process of its own, and gathers their rows. Nothing that a worker does can end this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

import edgessd
from edgessd.apps.benchmark.records import Row, Task
from edgessd.errors import printable
from edgessd.io.files import open_spool, scratch_folder

Measure = Callable[[Task], Row]


def run_all(tasks: Sequence[Task], measure: Measure, began: Callable[[Task, int], None] | None = None) -> Iterator[Row]:
    """Measure all tasks, in order, and yield the row of each as soon as it is there.

    Accuracy tasks come first and yield nothing: what they find is written into the rows of the same model and
    engine. Where an engine is absent, the other combinations of the same model with it are left out.
    began: called before each task with the task and its number.
    """
    quality: dict[tuple[str, str], Row] = {}
    absent: set[tuple[str, str]] = set()
    for number, task in enumerate(tasks):
        if (task.model, task.engine) in absent:
            continue
        if began is not None:
            began(task, number)
        row = measure(task)
        if task.kind != "accuracy" and row.status == "absent":
            absent.add((task.model, task.engine))
        if task.kind == "accuracy":
            quality[task.model, task.engine] = row
            continue
        found = quality.get((task.model, task.engine))
        if found is not None and row.status == "ok":
            row.accuracy = found.accuracy
            row.notes += found.notes
            if found.status != "ok":
                row.notes.append(f"accuracy not measured: {found.reason}")
        yield row


def measure_apart(task: Task, timeout: float = 600.0) -> Row:
    """Measure one task in a new process; a crash, a hang or a fault becomes a row with its reason.

    timeout: seconds after which the process is ended.
    """
    row = Row(model=task.model, runtime=task.engine, threads=task.threads, batch=task.batch, status="failed")
    command = [sys.executable, "-P", "-m", "edgessd.apps.benchmark.worker", msgspec.json.encode(task).decode()]
    with scratch_folder() as folder, open_spool(folder / "out") as answers, open_spool(folder / "err") as complaints:
        # The worker ends when its standard input does: it does not outlive this process.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=answers, stderr=complaints, env=_environment()
        ) as process:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                row.reason = f"not done after {timeout:g} s: give --timeout more, or take a smaller model"
                return row
            finally:
                process.kill()
        answers.seek(0)
        answer = answers.read()
        complaints.seek(0)
        said = complaints.read().decode(errors="replace")
    if process.returncode:
        row.reason = _why(process.returncode, said)
        return row
    try:
        return msgspec.json.decode(answer, type=Row)
    except msgspec.MsgspecError as error:
        row.reason = f"the worker's answer cannot be read: {error}"
        return row


def _environment() -> dict[str, str]:
    """Return an environment in which the worker finds this edgessd, installed or not, wherever it is started."""
    here = str(Path(edgessd.__file__).parent.parent)
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": here if not known else f"{here}{os.pathsep}{known}"}


def _why(code: int, said: str) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"crashed: {name}{hint}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"broken: {printable(lines[-1]) if lines else f'exit code {code}'}"
