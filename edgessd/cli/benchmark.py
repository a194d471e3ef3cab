"""`edgessd benchmark`: how fast and how good models are, by runtime, threads and batch."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from edgessd.apps.benchmark import Report, Row, Wanted, plan, run_all
from edgessd.apps.benchmark.adb import Phone, measure_on_phone
from edgessd.apps.benchmark.compare import print_comparison
from edgessd.apps.benchmark.machine import describe_machine
from edgessd.apps.benchmark.paper import add_published, paper_tasks
from edgessd.apps.benchmark.plot import write_plot
from edgessd.apps.benchmark.records import Task, read_report
from edgessd.apps.benchmark.remote import measure_on_device, side_by_side
from edgessd.apps.benchmark.runner import measure_apart
from edgessd.apps.benchmark.settings import Settings
from edgessd.apps.benchmark.ssh import Ssh
from edgessd.apps.benchmark.tables import print_report, to_csv, to_markdown
from edgessd.cli.struct_command import struct_command
from edgessd.datasets.load import read_dataset
from edgessd.errors import InputError, OptionError, did_you_mean
from edgessd.evaluation.protocols import METRICS, Metric
from edgessd.io.files import check_writable, write_text_atomic
from edgessd.io.sources import expand
from edgessd.io.targets import keep_sources
from edgessd.io.video import is_video
from edgessd.zoo import DEFAULT_MODEL, photos

MOST_PICTURES = 32
Began = Callable[[Task, int], None]


def run_benchmark(settings: Settings) -> None:
    """Measure models: milliseconds by stage, memory, size and accuracy; each combination in its own process."""
    console = Console(markup=False)
    for target in (settings.json_file, settings.csv_file, settings.markdown, settings.plot):
        if target is not None:
            check_writable(target)
    pictures = expand(settings.images) if settings.images else []
    results = [settings.json_file, settings.csv_file, settings.markdown, settings.plot]
    keep_sources(results, [*settings.models, settings.labels, settings.yolox, *pictures])
    old = None if settings.compare is None else read_report(settings.compare)
    measure_there = _device(settings)
    common = _common_task(settings)
    there: Report | None = None
    if settings.preset is not None:
        tasks = _preset(settings, common)
    else:
        wanted = _wanted(settings)
        tasks = plan(wanted, common)
        if measure_there is not None:  # first, so that a device that cannot be reached is told at once
            with console.status("connecting", spinner="dots") as status:
                there = measure_there(wanted, common, settings.timeout, status.update)
    report = Report(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        settings=_facts(common),
        machines=[describe_machine()],
    )
    _warn_if_busy(console, report)
    interrupted: KeyboardInterrupt | None = None
    with _progress(console, tasks) as began:
        try:
            for row in run_all(tasks, lambda task: measure_apart(task, settings.timeout), began):
                report.rows.append(row)
        except KeyboardInterrupt as error:  # what was measured until then is shown
            interrupted = error
    if settings.preset is not None:
        add_published(report)
    if there is not None:
        report = side_by_side(report, there)
    report.name_models()
    _show(console, report, settings)
    if old is not None:
        print_comparison(console, old, report)
    if interrupted is not None:
        raise interrupted
    _refuse_if_nothing(report.rows)


benchmark = struct_command(Settings, run_benchmark)

MeasureThere = Callable[[Wanted, Task, float, Callable[[str], object]], Report]


def _device(settings: Settings) -> MeasureThere | None:
    """Return what measures on a device. Raises OptionError for an address that is none."""
    device, program, wheels = settings.device, settings.benchmark_model, settings.wheels
    if device is None:
        return None
    for option, given in (("files that need --labels are", settings.labels), ("--preset paper is", settings.preset)):
        if given is not None:
            raise OptionError(f"{option} measured here: leave --device out")
    if device == "adb" or device.startswith("adb:"):
        if program is not None and not program.is_file():
            raise OptionError(f"there is no file {program}: give --benchmark-model LiteRT's program for Android")
        phone = Phone(device)
        return lambda wanted, common, _, say: measure_on_phone(
            phone, wanted.models, wanted.runtimes, wanted.threads, common, program, say
        )
    board = Ssh(device, settings.ssh_config)
    if wheels is not None and not wheels.is_dir():
        raise OptionError(f"there is no folder {wheels}: give --wheels a folder of wheels")
    return lambda wanted, common, timeout, say: measure_on_device(
        board, wanted, common, timeout=timeout, wheels=wheels, say=say
    )


def _wanted(settings: Settings) -> Wanted:
    if settings.yolox is not None:
        raise OptionError("--yolox belongs to --preset paper")
    return Wanted(
        models=tuple(settings.models or [DEFAULT_MODEL]),
        runtimes=tuple(_words(settings.runtimes)),
        precisions=tuple(_words(settings.precision or "")),
        threads=_threads(settings.threads or "1,2"),
        batches=tuple(_numbers("--batch", settings.batch or "1", 1)),
    )


def _preset(settings: Settings, common: Task) -> list[Task]:
    yolox = settings.yolox
    if settings.preset != "paper":
        raise OptionError(f"unknown preset {settings.preset!r}: there is 'paper'")
    if settings.models:
        raise OptionError("--preset paper has its own models: leave MODEL out")
    if yolox is not None and not Path(yolox).is_file():
        raise OptionError(f"there is no file {yolox}: give --yolox an ONNX file of YOLOX")
    return paper_tasks(
        common, _threads(settings.threads or "0"), _numbers("--batch", settings.batch or "1,8", 1), yolox
    )


def _common_task(settings: Settings) -> Task:
    images, data, split, metric = settings.images, settings.data, settings.split, settings.metric
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}: use {', '.join(METRICS)}")
    chosen: Metric = next(each for each in METRICS if each == metric)
    pictures = photos() if images is None else [each for each in expand(images) if not is_video(each)]
    if not pictures:
        raise InputError(f"{images} holds no pictures: give a folder of pictures with --images")
    if data and not read_dataset(data, split).records:  # a mistake here is worth an answer before anything is measured
        raise InputError(f"{data} has no annotated pictures in the split {split!r}: check the path and the split")
    return Task(
        kind="speed",
        model="",
        images=tuple(str(each) for each in pictures[:MOST_PICTURES]),
        runs=settings.runs,
        warmup=min(10, settings.runs),
        seconds=settings.seconds,
        data=data,
        split=split,
        metric=chosen,
        limit=settings.limit,
        labels=settings.labels or "",
    )


def _facts(common: Task) -> dict[str, str]:
    facts = {"pictures": str(len(common.images)), "runs": str(common.runs), "seconds": f"{common.seconds:g}"}
    if common.data:
        limit = "" if common.limit is None else f", first {common.limit}"
        split = "" if common.split is None else f" ({common.split})"
        facts["data"] = f"{Path(common.data).name}{split}{limit}, {common.metric}"
    return facts


def _warn_if_busy(console: Console, report: Report) -> None:
    machine = report.machines[0]
    if machine.load is not None and machine.load > 0.5 * machine.cores:
        console.print(
            f"the machine is busy (load {machine.load:g} on {machine.cores} cores): figures will be too high",
            highlight=False,
            style="yellow",
            soft_wrap=True,
        )


@contextlib.contextmanager
def _progress(console: Console, tasks: Sequence[Task]) -> Iterator[Began | None]:
    if not console.is_terminal:
        yield None
        return
    with console.status("starting", spinner="dots") as status:

        def began(task: Task, number: int) -> None:
            name = Path(task.model).name
            what = "accuracy" if task.kind == "accuracy" else f"{task.threads or 'auto'} threads, batch {task.batch}"
            status.update(f"{number + 1} of {len(tasks)}: {name} {task.engine}, {what}")

        yield began


def _show(console: Console, report: Report, settings: Settings) -> None:
    """Write the files that were asked for, and print the table."""
    if not report.rows:
        return
    written = []
    files = ((settings.json_file, Report.to_json), (settings.csv_file, to_csv), (settings.markdown, to_markdown))
    for path, text in files:
        if path is not None:
            write_text_atomic(path, text(report))
            written.append(path)
    plot = settings.plot
    if plot is not None and any(row.stages for row in report.rows):
        write_plot(report, plot)
        written.append(plot)
    print_report(console, report)
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _refuse_if_nothing(rows: Sequence[Row]) -> None:
    if rows and not any(row.status == "ok" for row in rows):
        raise InputError(f"none of the {len(rows)} combinations could be measured; the first: {rows[0].reason}")


def _threads(text: str) -> tuple[int | None, ...]:
    return tuple(number or None for number in _numbers("--threads", text, 0))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str, lowest: int) -> list[int]:
    words = _words(text)
    if not words or not all(word.isdigit() and lowest <= int(word) <= 1024 for word in words):
        raise OptionError(f"{option} takes numbers from {lowest} on, such as 1,2, not {text!r}")
    return list(dict.fromkeys(map(int, words)))
