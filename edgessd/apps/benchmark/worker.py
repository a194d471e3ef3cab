"""One combination in a process of its own: `python -m edgessd.apps.benchmark.worker TASK`.

TASK is a `Task` as JSON. The answer, one `Row` as JSON, is the only thing on standard output; whatever engines
print goes to standard error. It ends when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading

import msgspec

from edgessd.apps.benchmark.records import Row, Task
from edgessd.errors import DependencyError, EdgeSSDError, OptionError


def main(arguments: list[str]) -> None:
    """Measure, and write the row."""
    task = msgspec.json.decode(arguments[0], type=Task)
    answer = os.dup(1)
    os.dup2(2, 1)  # libraries that print do not disturb the answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    row = answer_to(task)
    with os.fdopen(answer, "wb") as file:
        file.write(msgspec.json.encode(row) + b"\n")


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes when whoever started this process is gone."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def answer_to(task: Task) -> Row:
    """Measure one task; mistakes and missing engines become rows."""
    row = Row(model=task.model, runtime=task.engine, threads=task.threads, batch=task.batch)
    try:
        if task.kind == "accuracy":
            from edgessd.apps.benchmark.accuracy import measure_accuracy

            return measure_accuracy(task)
        from edgessd.apps.benchmark.measure import measure_speed

        return measure_speed(task)
    except DependencyError as error:
        row.status, row.reason = "absent", f"not installed: {error}"
    except OptionError as error:
        row.status = "absent" if task.provider not in ("", "cpu") else "failed"
        row.reason = f"not present: {error}" if row.status == "absent" else str(error)
    except EdgeSSDError as error:
        row.status, row.reason = "failed", str(error)
    return row


if __name__ == "__main__":
    main(sys.argv[1:])
