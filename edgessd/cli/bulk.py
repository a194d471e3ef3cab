"""`edgessd bulk`: millions of pictures, on one machine or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from edgessd.cli import options
from edgessd.errors import printable

if TYPE_CHECKING:
    from edgessd.apps.bulk import Progress

SECONDS_BETWEEN_LINES = 30.0


def bulk(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, pattern, text file of paths or URLs, Parquet, s3:// or gs://; with --to: a result."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder of the result, or s3://, gs://; the file of --to.")
    ],
    model: options.Model = None,
    runtime: options.Runtime = None,
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster; default: this machine alone.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that detect; default: one a processor.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures a worker takes at a time, and rows of a file.")] = 256,
    threads: Annotated[int, typer.Option(help="Threads of the engine in each worker.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the result in -o.")] = False,
    column: Annotated[str | None, typer.Option(help="Of Parquet: paths or bytes, such as image.bytes.")] = None,
    score_threshold: options.ScoreThreshold = None,
    iou_threshold: options.IouThreshold = None,
    max_detections: options.MaxDetections = None,
    classes: options.Classes = None,
    to: Annotated[str | None, typer.Option(help="Convert a result: coco, csv or yolo.")] = None,
) -> None:
    """Detect in very many pictures with Ray; write a Parquet data set, one row a picture, or convert one."""
    console = Console(markup=False, highlight=False)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    if to is not None:
        from edgessd.apps.bulk.convert import convert

        done = convert(source, to, output)
        left_out = f"; {done.failed} pictures with an error are left out" if done.failed else ""
        say(f"wrote {printable(output)}: {done.pictures} pictures, {done.objects} objects{left_out}")
        return
    from edgessd.apps.bulk import detect_many

    try:
        with _progress(console) as report:
            done_ = detect_many(
                source,
                output,
                model=model,
                runtime=runtime,
                address=address,
                workers=workers,
                batch_size=batch_size,
                threads=threads,
                limit=limit,
                resume=resume,
                column=column,
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                max_detections=max_detections,
                classes=options.class_list(classes),
                progress=report,
            )
    except KeyboardInterrupt:
        say(f"stopped; what is finished stays in {output}: go on with --resume")
        raise
    if not done_.pictures:
        say(f"{output} was finished already: {done_.skipped} pictures")
        return
    before = f", {done_.skipped} done before" if done_.skipped else ""
    say(
        f"wrote {printable(output)}: {done_.pictures} pictures, {done_.failures} of them with an error{before}; "
        f"{done_.rate:.1f} pictures/s with {done_.workers} workers in {done_.seconds:.1f} s, "
        f"after a start of {done_.start_seconds:.1f} s"
    )


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal; elsewhere (a log) print a line now and then."""
    if not console.is_terminal:
        last = time.monotonic()

        def line(now: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                console.print(f"{now.pictures} of {now.all_pictures} pictures, {_words(now)}", soft_wrap=True)

        yield line
        return
    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}")]
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("detecting", total=None, words="starting")
        yield lambda now: bars.update(task, total=now.all_pictures, completed=now.pictures, words=_words(now))


def _words(now: Progress) -> str:
    rate = "" if now.rate is None else f"{now.rate:.1f} pictures/s"
    left = "" if now.seconds_left is None else f", {_time(now.seconds_left)} left"
    return f"{rate}{left}, {now.failures} failed"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
