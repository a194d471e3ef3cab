"""`edgessd benchmark` from within the camera, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable


def start_benchmark(model: str, ended: Callable[[str], None]) -> None:
    """Measure a model file in the background; its table goes to the terminal, `ended` gets one line."""

    def run() -> None:
        command = [sys.executable, "-m", "edgessd", "benchmark", model, "--seconds", "5"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            ended(f"the benchmark failed: {error}")
            return
        print(done.stdout, end="", flush=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            ended(f"the benchmark failed: {last[0]}")
        else:
            ended("the benchmark has ended: its table is in the terminal")

    threading.Thread(target=run, name="edgessd-benchmark", daemon=True).start()
