"""`edgessd benchmark`: how fast and how good models are, by runtime, threads and batch."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
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
from edgessd.apps.benchmark.ssh import Ssh
from edgessd.apps.benchmark.tables import print_report, to_csv, to_markdown
from edgessd.cli import options
from edgessd.datasets.load import read_dataset
from edgessd.errors import InputError, OptionError, did_you_mean
from edgessd.evaluation.protocols import METRICS, Metric
from edgessd.io.files import check_writable, write_text_atomic
from edgessd.io.sources import expand
from edgessd.io.video import is_video
from edgessd.zoo import DEFAULT_MODEL, photos

MOST_PICTURES = 32
Began = Callable[[Task, int], None]


def benchmark(
    models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Bundled names or files.")] = None,
    runtimes: Annotated[
        str, typer.Option(help="all, cpu (all without GPUs), or engines such as onnx,litert,onnx:cuda.")
    ] = "all",
    threads: Annotated[
        str | None, typer.Option(help="Numbers of threads, such as 1,2,4; 0 is the engine's choice; default 1,2.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Pictures at a time, such as 1,8; default 1.")] = None,
    precision: Annotated[str | None, typer.Option(help="Only models of these: fp32, fp16, int8.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder of pictures; default: the bundled photos.")] = None,
    data: Annotated[str, typer.Option(help="Labelled set, to measure accuracy as well; as in `evaluate`.")] = "",
    split: Annotated[str | None, typer.Option(help="Its split.")] = None,
    metric: Annotated[str, typer.Option(help="voc07, voc or coco.")] = "coco",
    limit: Annotated[int | None, typer.Option(min=1, help="Only its first pictures.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each combination, after the warm-up.")] = 100,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="A combination ends after so long, with 10 runs at least.")
    ] = 20,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a combination counts as broken.")] = 600,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write one line per combination.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against time (PNG); without data, the stages.")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="An older --json: print what changed.")] = None,
    preset: Annotated[str | None, typer.Option(help="paper: the SSD paper's table, here and as published.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Measure there, too: ssh://user@host[:port], adb, or adb:SERIAL.")
    ] = None,
    wheels: Annotated[Path | None, typer.Option(help="With ssh: wheels to install from, without network.")] = None,
    ssh_config: Annotated[Path | None, typer.Option(help="With ssh: a file instead of ~/.ssh/config.")] = None,
    benchmark_model: Annotated[Path | None, typer.Option(help="With adb: LiteRT's program.")] = None,
    labels: options.Labels = None,
    yolox: Annotated[str | None, typer.Option(help="With --preset paper: an ONNX file of YOLOX.")] = None,
) -> None:
    """Measure models: milliseconds by stage, memory, size and accuracy; each combination in its own process."""
    console = Console(markup=False)
    for target in (json_file, csv_file, markdown, plot):
        if target is not None:
            check_writable(target)
    old = None if compare is None else read_report(compare)
    measure_there = None if device is None else _device(device, wheels, ssh_config, benchmark_model)
    if labels is not None and device is not None:
        raise OptionError("files that need --labels are measured here: leave --device out")
    common = _common_task(images, data, split, metric, limit, runs, seconds, labels)
    there: Report | None = None
    if preset is not None:
        if device is not None:
            raise OptionError("--preset paper is measured here: leave --device out")
        tasks = _preset(preset, models, yolox, common, threads or "0", batch or "1,8")
    else:
        if yolox is not None:
            raise OptionError("--yolox belongs to --preset paper")
        wanted = Wanted(
            models=tuple(models or [DEFAULT_MODEL]),
            runtimes=tuple(_words(runtimes)),
            precisions=tuple(_words(precision or "")),
            threads=_threads(threads or "1,2"),
            batches=tuple(_numbers("--batch", batch or "1", 1)),
        )
        tasks = plan(wanted, common)
        if measure_there is not None:  # first, so that a device that cannot be reached is told at once
            with console.status("connecting", spinner="dots") as status:
                there = measure_there(wanted, common, timeout, status.update)
    report = Report(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        settings=_settings(common),
        machines=[describe_machine()],
    )
    _warn_if_busy(console, report)
    interrupted = False
    with _progress(console, tasks) as began:
        try:
            for row in run_all(tasks, lambda task: measure_apart(task, timeout), began):
                report.rows.append(row)
        except KeyboardInterrupt:  # what was measured until then is shown
            interrupted = True
    if preset is not None:
        add_published(report)
    if there is not None:
        report = side_by_side(report, there)
    report.name_models()
    _show(console, report, json_file, csv_file, markdown, plot)
    if old is not None:
        print_comparison(console, old, report)
    if interrupted:
        raise KeyboardInterrupt
    _refuse_if_nothing(report.rows)


MeasureThere = Callable[[Wanted, Task, float, Callable[[str], object]], Report]


def _device(device: str, wheels: Path | None, ssh_config: Path | None, program: Path | None) -> MeasureThere:
    """Return what measures on a device. Raises OptionError for an address that is none."""
    if device == "adb" or device.startswith("adb:"):
        if program is not None and not program.is_file():
            raise OptionError(f"there is no file {program}: give --benchmark-model LiteRT's program for Android")
        phone = Phone(device)
        return lambda wanted, common, _, say: measure_on_phone(
            phone, wanted.models, wanted.runtimes, wanted.threads, common, program, say
        )
    board = Ssh(device, ssh_config)
    if wheels is not None and not wheels.is_dir():
        raise OptionError(f"there is no folder {wheels}: give --wheels a folder of wheels")
    return lambda wanted, common, timeout, say: measure_on_device(
        board, wanted, common, timeout=timeout, wheels=wheels, say=say
    )


def _preset(
    preset: str, models: Sequence[str] | None, yolox: str | None, common: Task, threads: str, batch: str
) -> list[Task]:
    if preset != "paper":
        raise OptionError(f"unknown preset {preset!r}: there is 'paper'")
    if models:
        raise OptionError("--preset paper has its own models: leave MODEL out")
    if yolox is not None and not Path(yolox).is_file():
        raise OptionError(f"there is no file {yolox}: give --yolox an ONNX file of YOLOX")
    return paper_tasks(common, _threads(threads), _numbers("--batch", batch, 1), yolox)


def _common_task(
    images: str | None,
    data: str,
    split: str | None,
    metric: str,
    limit: int | None,
    runs: int,
    seconds: float,
    labels: str | None,
) -> Task:
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
        runs=runs,
        warmup=min(10, runs),
        seconds=seconds,
        data=data,
        split=split,
        metric=chosen,
        limit=limit,
        labels=labels or "",
    )


def _settings(common: Task) -> dict[str, str]:
    settings = {"pictures": str(len(common.images)), "runs": str(common.runs), "seconds": f"{common.seconds:g}"}
    if common.data:
        limit = "" if common.limit is None else f", first {common.limit}"
        split = "" if common.split is None else f" ({common.split})"
        settings["data"] = f"{Path(common.data).name}{split}{limit}, {common.metric}"
    return settings


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


def _show(
    console: Console,
    report: Report,
    json_file: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
    plot: Path | None,
) -> None:
    """Print the table; write the files that were asked for."""
    if not report.rows:
        return
    print_report(console, report)
    for path, text in ((json_file, Report.to_json), (csv_file, to_csv), (markdown, to_markdown)):
        if path is not None:
            write_text_atomic(path, text(report))
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if plot is not None and any(row.stages for row in report.rows):
        write_plot(report, plot)
        console.print(f"wrote {plot}", highlight=False, soft_wrap=True)


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
