"""What the user can ask for while it runs, from keys and from the web view alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgessd.apps.camera.engine import Engine
from edgessd.errors import EdgeSSDError, OptionError
from edgessd.io.images import Image

KEYS = {
    "q": "end",
    "space": "pause",
    "s": "snapshot",
    "+ -": "score threshold",
    "m": "next model",
    "r": "next runtime",
    "b": "benchmark",
    "i": "numbers on or off",
    "h": "this help",
}
_STEP = 0.05
_NOTICE = 4.0  # seconds that a message stays on the picture


class Control:
    """Wishes and messages; every method may be called by any thread.

    snapshots: the folder that `snapshot` writes to. benchmark: starts the benchmark of a model, and calls back with
    what to say at its end.
    """

    def __init__(
        self,
        engine: Engine,
        stop: threading.Event,
        *,
        snapshots: Path | None = None,
        benchmark: Callable[[str, Callable[[str], None]], None] | None = None,
    ) -> None:
        self.engine, self.stop = engine, stop
        self.paused = self.help = False
        self.numbers = True  # whether speed and facts are written on the picture
        self._snapshots = snapshots or Path()
        self._benchmark, self._benchmarking = benchmark, False
        self._picture: Image | None = None
        self._notice, self._until = "", 0.0

    @property
    def notice(self) -> str | None:
        """The message of the moment."""
        return self._notice if time.monotonic() < self._until else None

    def say(self, text: str) -> None:
        """Show a message on the picture for some seconds."""
        self._notice, self._until = text, time.monotonic() + _NOTICE

    def attempt(self, wish: Callable[[], None]) -> None:
        """Do it; what cannot be done is said on the picture."""
        try:
            wish()
        except EdgeSSDError as error:
            self.say(str(error))

    def show(self, picture: Image) -> None:
        """Remember the picture that is shown now, for snapshots."""
        self._picture = picture

    def key(self, code: int) -> None:
        """Do what a key of the window stands for; code: of cv2.waitKey."""
        letter = chr(code & 0xFF).lower() if code >= 0 else ""
        wishes: dict[str, Callable[[], None]] = {
            "q": self.stop.set,
            "\x1b": self.stop.set,
            " ": self.toggle_pause,
            "s": self.snapshot,
            "+": lambda: self.change_threshold(_STEP),
            "=": lambda: self.change_threshold(_STEP),
            "-": lambda: self.change_threshold(-_STEP),
            "m": self.engine.next_model,
            "r": self.engine.next_runtime,
            "b": self.benchmark,
            "i": self.toggle_numbers,
            "h": self.toggle_help,
        }
        if letter in wishes:
            self.attempt(wishes[letter])

    def change_threshold(self, step: float) -> None:
        """Raise or lower the score threshold."""
        info = self.engine.info
        self.engine.set_threshold(min(max(info.score_threshold + step, 0.01), 0.99))
        self.say(f"score threshold {self.engine.info.score_threshold:.2f}")

    def toggle_pause(self) -> None:
        """Stop the picture, or let it go on."""
        self.paused = not self.paused

    def toggle_numbers(self) -> None:
        """Show or hide speed and facts on the picture."""
        self.numbers = not self.numbers

    def toggle_help(self) -> None:
        """Show or hide the list of keys."""
        self.help = not self.help

    def snapshot(self) -> None:
        """Write the picture that is shown to a JPEG file named after the time."""
        from edgessd.apps.camera.jpeg import write_jpeg

        if self._picture is None:
            raise OptionError("there is no picture yet")
        name = f"edgessd-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 1_000_000 % 1000:03d}.jpg"
        write_jpeg(self._snapshots / name, self._picture)
        self.say(f"wrote {self._snapshots / name}")

    def benchmark(self) -> None:
        """Pause, measure the model that runs, and go on."""
        if self._benchmark is None:
            raise OptionError("no benchmark here: run `edgessd benchmark`")
        if self._benchmarking:
            raise OptionError("the benchmark runs already")
        self._benchmarking = self.paused = True
        self.say("the benchmark runs; the picture stands still so long")
        self._benchmark(self.engine.models[self.engine.info.model], self._benchmark_ended)

    def _benchmark_ended(self, text: str) -> None:
        self._benchmarking = self.paused = False
        self.say(text)
