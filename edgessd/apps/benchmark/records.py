"""What is measured, as plain data: JSON in and out. All times are milliseconds, all sizes megabytes (10^6 bytes)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from edgessd._text import decode
from edgessd.errors import InputError, printable

STAGES = ("decode", "preprocess", "run", "postprocess", "total")
"""`total` is preprocess + run + postprocess: from pixels in memory to detections."""

NOTES = {
    "noisy": "the 90th percentile is far above the median: was the machine busy?",
    "slower": "the last third of the runs was slower than the first: heat, or another program",
    "throttled": "the system says that it slowed the processor down",
}
"""First words of notes about the measurement, and what they mean."""

HERE, PAPER = "here", "paper"
"""Names of machines: this one, and the one of the SSD paper's published figures."""


class Task(Struct, frozen=True):
    """What one worker process does.

    kind: `speed` measures times, `accuracy` average precision. model: a file, a bundled name, or one of `peers`.
    provider: what the runtime runs on, such as `cuda`; empty for its default on the processor. threads: None leaves
    them to the engine. images: pictures to measure with. runs, warmup: batches. seconds: where the runs take longer,
    they end after `fewest`. labels: class names of another tool's TFLite detector, as in `edgessd detect`; only models
    that do not describe themselves take them.
    """

    kind: Literal["speed", "accuracy"]
    model: str
    runtime: str = ""
    provider: str = ""
    threads: int | None = None
    batch: int = 1
    images: tuple[str, ...] = ()
    runs: int = 100
    warmup: int = 10
    seconds: float = 20.0
    fewest: int = 10
    data: str = ""
    split: str | None = None
    metric: Literal["voc07", "voc", "coco"] = "coco"
    limit: int | None = None
    labels: str = ""

    @property
    def engine(self) -> str:
        """Runtime and provider in one word, such as `onnx` or `onnx:cuda`."""
        return f"{self.runtime}:{self.provider}" if self.provider else self.runtime


class Stage(Struct, frozen=True):
    """Milliseconds of one stage for one picture: time of a batch by its size; median and percentiles over the runs."""

    median: float
    p90: float
    p99: float


class Sensors(Struct, frozen=True):
    """Temperature of the hottest sensor in degrees Celsius and mean clock in MHz; None where it cannot be read.

    throttled: times the processor or the board says it was slowed down by heat or voltage, since the start.
    """

    temperature: float | None = None
    clock: float | None = None
    throttled: int | None = None


class Row(Struct, kw_only=True):
    """One combination. `absent`: the engine or the device is not on this machine; `failed`: `reason` says why.

    name: of the model, short, told apart from the others of its report (`Report.name_models`).
    stages: by name, see `STAGES`. rate: pictures per second, decoding not counted. first: the first inference.
    load: from the file to an engine that is ready. memory: peak of the whole process; memory_model: what loading
    and running the model added to it. size: of the file. boxes: number of priors. accuracy: figures in percent,
    by name. notes: each begins with a word and a colon where it is of the kinds in `NOTES`.
    """

    machine: str = HERE
    model: str
    name: str = ""
    precision: str = ""
    runtime: str
    engine: str = ""
    threads: int | None = None
    batch: int = 1
    status: Literal["ok", "failed", "absent"] = "ok"
    reason: str = ""
    runs: int = 0
    stages: dict[str, Stage] = {}
    rate: float | None = None
    first: float | None = None
    load: float | None = None
    memory: float | None = None
    memory_model: float | None = None
    size: float | None = None
    input: str = ""
    boxes: int | None = None
    accuracy: dict[str, float] = {}
    before: Sensors | None = None
    after: Sensors | None = None
    notes: list[str] = []

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        """What makes two rows of different reports, or machines, the same combination."""
        return (self.name or self.model, self.runtime, self.threads, self.batch)

    @property
    def quality(self) -> float | None:
        """The first figure of `accuracy`: mAP, or COCO's AP."""
        return next(iter(self.accuracy.values()), None)


class Machine(Struct, kw_only=True):
    """A machine in words. flags: those of the processor that inference engines use."""

    name: str = HERE
    processor: str
    cores: int
    architecture: str
    flags: list[str] = []
    memory: float | None = None
    gpus: list[str] = []
    board: str = ""
    system: str
    python: str = ""
    versions: dict[str, str] = {}
    load: float | None = None


class Report(Struct, kw_only=True):
    """Everything of one benchmark: machines, rows and how it was measured."""

    schema: Literal[1] = 1
    date: str = ""
    settings: dict[str, str] = {}
    machines: list[Machine] = []
    rows: list[Row] = []

    def name_models(self) -> None:
        """Give every row the shortest end of its model's path that no other model of the report has."""
        tails = {row.model: re.split(r"[/\\]", re.sub("^(paper|yolox):", "", row.model)) for row in self.rows}
        names = {}
        for model, parts in tails.items():
            for length in range(1, len(parts) + 1):
                names[model] = "/".join(parts[-length:])
                if sum(other[-length:] == parts[-length:] for other in tails.values()) == 1:
                    break
        for row in self.rows:
            row.name = names[row.model]

    def to_json(self) -> str:
        """Return it as JSON, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def read_report(path: Path) -> Report:
    """Read a report that `--json` wrote; its texts become printable. Raises InputError for a file that is none."""
    try:
        return msgspec.convert(_printable(msgspec.json.decode(decode(path.read_bytes()))), Report)
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"{printable(path)} is no report of `edgessd benchmark --json`: {printable(error)}") from None


def _printable(value: Any) -> Any:
    """Take control characters out of all texts: a report may come from another machine, and goes to a terminal."""
    if isinstance(value, str):
        return printable(value, 2000)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): _printable(each) for key, each in value.items()}
    return value
