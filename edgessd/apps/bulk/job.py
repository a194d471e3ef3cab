"""One run from start to end: check, plan, detect, keep account."""

from __future__ import annotations

import datetime
import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgessd.apps.bulk.manifest import (
    MANIFEST,
    MODEL,
    PLAN,
    Manifest,
    Model,
    Options,
    Run,
    Source,
    finished_blocks,
    model_files,
    read_manifest,
    refuse_changes,
    sha256,
    versions,
)
from edgessd.apps.bulk.plan import count_pictures, remove_secret_plan, write_plan
from edgessd.apps.bulk.sources import Tables, find_pictures
from edgessd.apps.bulk.storage import Storage, in_bucket
from edgessd.apps.bulk.trail import TRAIL
from edgessd.detector import Detector
from edgessd.errors import InputError, OptionError, printable
from edgessd.io.address import source_name
from edgessd.model_file import runtimes_for
from edgessd.zoo import resolve_model

BATCH_SIZE = 256


class Progress(NamedTuple):
    """Where a run stands: pictures that are in finished blocks, those of earlier runs included.

    rate: pictures per second of this run, its start-up not counted; None before the first block. seconds_left: at
    that rate.
    """

    pictures: int
    all_pictures: int
    failures: int
    rate: float | None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the rate until now."""
        return (self.all_pictures - self.pictures) / self.rate if self.rate else None


class Summary(NamedTuple):
    """What a run did. start_seconds: until the first worker began; seconds: from there to the last file."""

    pictures: int
    failures: int
    skipped: int
    start_seconds: float
    seconds: float
    workers: int

    @property
    def rate(self) -> float:
        """Pictures per second after start-up."""
        return self.pictures / self.seconds if self.seconds else 0.0


def detect_many(
    source: str | os.PathLike[str] | Iterable[str],
    output: str | os.PathLike[str],
    *,
    model: str | Path | None = None,
    runtime: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int = 1,
    limit: int | None = None,
    resume: bool = False,
    column: str | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    classes: Iterable[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Summary:
    """Detect in all pictures of a source and write a Parquet data set, one row a picture (`rows.Row`).

    source: folder, pattern, text file with a path or address a line, Parquet with a column of paths or bytes, any of
        them in a bucket (s3://, gs://); or an iterable of paths and addresses.
    output: the folder of the result, new or empty; in a bucket, or on a disk that all machines share.
    address: of a Ray cluster; None starts Ray on this machine (or takes RAY_ADDRESS).
    workers: processes with one loaded model each; default: one for each processor. threads: of the engine in each.
    batch_size: pictures in a block, which is what a worker takes at a time and one file of the result.
    limit: only the first pictures. column: of Parquet files. resume: go on with the result in `output`.
    model, runtime and thresholds: as for `Detector.load`.
    progress: called after each block.

    A picture that cannot be read is a row with its error. Raises InputError for a source without pictures, an output
    that is something else, changed options on resume, and files that cannot be written; DeviceError where the
    cluster does not answer; what is finished then stays, and `resume` goes on with it.
    """
    for name, value in (("workers", workers), ("batch_size", batch_size), ("threads", threads), ("limit", limit)):
        if value is not None and value < 1:
            raise OptionError(f"{name} must be at least 1, not {value}")
    storage = Storage(os.fspath(output))
    state = _state(storage, resume)
    chosen = None if classes is None else tuple(classes)
    found_model, options, files = _model(
        model, runtime, threads, batch_size, limit, score_threshold, iou_threshold, max_detections, chosen
    )
    from edgessd.apps.bulk import on_ray  # last, because it takes a second

    on_ray.check_answers(address)
    given = source_name(source) if isinstance(source, str | os.PathLike) else "a list"
    if state is None:
        manifest = _begin(storage, source, given, column, found_model, options, files)
    else:
        manifest = state
        new = Manifest(found_model, options, Source(given, "", "", 0, 0))
        refuse_changes(manifest, new)
        storage.remove_temporary()
    finished = finished_blocks(storage)
    missing = sorted(set(range(manifest.source.blocks)).difference(finished))
    if not missing:
        manifest.complete = True
        manifest.write(storage)
        remove_secret_plan(storage)
        return Summary(0, 0, manifest.source.pictures, 0.0, 0.0, 0)
    called = time.time()
    with on_ray.connected(address):
        count = min(on_ray.count_workers(workers, threads), len(missing))
        run = Run(_now(), versions(), count)
        manifest.runs.append(run)
        manifest.write(storage)
        skipped = count_pictures(storage, finished, options.batch_size, manifest.source.pictures)
        first = math.inf
        try:
            for done in on_ray.run_blocks(storage, manifest, missing, count):
                now = time.time()
                first = min(first, max(called, min(done.begun, now)))  # clocks of machines differ a little
                run.pictures += done.pictures
                run.failures += done.failures
                run.seconds = now - first
                if progress is not None:
                    rate = run.pictures / run.seconds if run.seconds else None
                    progress(Progress(skipped + run.pictures, manifest.source.pictures, run.failures, rate))
            storage.remove_temporary()
            storage.remove(TRAIL)
            manifest.complete = len(finished_blocks(storage)) == manifest.source.blocks
        finally:
            run.ended = _now()
            with suppress(InputError):  # of a full disk, say, which is what ended the run
                manifest.write(storage)
    assert manifest.complete
    remove_secret_plan(storage)
    return Summary(run.pictures, run.failures, skipped, first - called, run.seconds, count)


def _state(storage: Storage, resume: bool) -> Manifest | None:
    """Return the manifest of a result to go on with, None for a place where one can begin. Raises InputError."""
    if storage.local and Path(storage.root).is_file():
        raise InputError(f"{printable(storage.address)} is a file: give -o a new folder")
    names = storage.names()
    if MANIFEST not in names:
        # A run that was cut off before its first block has left no more than a plan or a model.
        if set(names) - {PLAN, MODEL}:
            raise InputError(
                f"{printable(storage.address)} is there and no result of `edgessd bulk`: give -o a new folder"
            )
        if resume and not names:
            raise InputError(f"{printable(storage.address)} holds nothing to go on with: leave --resume out")
        return None
    manifest = read_manifest(storage)
    if not resume:
        done, blocks = len(finished_blocks(storage)), manifest.source.blocks
        if not done:
            return None
        raise InputError(
            f"{printable(storage.address)} holds a result already ({done} of {blocks} blocks): "
            "go on with it with --resume, or give -o a new folder"
        )
    return manifest


def _model(
    model: str | Path | None,
    runtime: str | None,
    threads: int,
    batch_size: int,
    limit: int | None,
    score_threshold: float | None,
    iou_threshold: float | None,
    max_detections: int | None,
    classes: tuple[str, ...] | None,
) -> tuple[Model, Options, dict[str, bytes]]:
    """Load the model once here, so that what is wrong with it is said before anything is started."""
    path = resolve_model(model, runtime)
    with Detector.load(
        path,
        runtime,
        threads,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        classes=classes,
    ) as detector:
        limits, spec = detector.thresholds, detector.spec
    files = model_files(path)
    options = Options(
        limits.score_threshold, limits.iou_threshold, limits.max_detections, classes, batch_size, limit, threads
    )
    engine = runtime or runtimes_for(path)[0]
    return Model(spec.name, path.name, sha256(files), engine, spec.classes, spec.category_ids), options, files


def _begin(
    storage: Storage,
    source: str | os.PathLike[str] | Iterable[str],
    given: str,
    column: str | None,
    model: Model,
    options: Options,
    files: dict[str, bytes],
) -> Manifest:
    """Write model, plan and manifest; the manifest last, because it says that the others are there."""
    pictures = find_pictures(source, column)
    kind, columns = ("bytes", pictures.columns) if isinstance(pictures, Tables) else ("paths", ())
    storage.make()
    count, blocks = write_plan(storage, pictures, options.batch_size, options.limit)
    if count == 0:
        raise InputError(f"{printable(given)} holds no pictures: give a folder, a list or a Parquet file that does")
    storage.remove(MODEL)
    storage.make(MODEL)
    for name, data in files.items():
        storage.write(f"{MODEL}/{name}", data)
    root = "" if in_bucket(given) else str(Path.cwd())
    manifest = Manifest(model, options, Source(given, kind, root, count, blocks, columns))
    manifest.write(storage)
    return manifest


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
