"""The adapter to Ray: blocks of pictures through a read stage and a pool of workers. Nothing else knows Ray.

    plan -> read ahead (tasks) -> detect and write (one actor per worker) -> what came of each block

One row of Ray's data set is one block, whatever way Ray cuts and joins them, and the name of a block's file is its
number: a block that is done again, because a machine died, takes the place of itself.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgessd._signals import WISHES
from edgessd.apps.bulk.arrow import pyarrow as pa
from edgessd.apps.bulk.manifest import Manifest, Source
from edgessd.apps.bulk.plan import read_block
from edgessd.apps.bulk.reading import Picture, read_ahead
from edgessd.apps.bulk.storage import Storage
from edgessd.apps.bulk.worker import Done, Worker
from edgessd.errors import DeviceError, EdgeSSDError, InputError, OptionError, missing_extra, printable

# Ray reports its use to its makers unless it is told not to, and writes notes for its own developers on stderr.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as _error:
        raise missing_extra(str(_error.name), "ray") from None

WORKER_CPU = 0.5
"""Of a logical processor, for each thread of a worker: what is left is for reading, and for the workers of a machine
that dies, which move to the others."""

READER_CPU = 0
"""Reading claims nothing: workers that claim all processors of a cluster, or of what is left of one, would otherwise
leave none to read with, and wait for pictures for good."""

WORKERS_PER_READER = 2
READ_AHEAD_PER_WORKER = 256 * 2**20
"""Bytes of pictures that wait in Ray's object store for each worker."""

MAX_RESTARTS = 50
"""How often a worker may lose its process or its machine before the run ends. Its block is tried again each time (a
number of tries would be used up in the seconds that Ray needs to see that a machine is gone); trail.py sees to it that
a picture does not kill it for ever."""

CONNECT_SECONDS = 10
BLOCKS_PER_READ = 8
"""Blocks of one task of the read stage: fewer tasks for the driver to see to; all are read again when one is lost."""

_CHUNK = pa.schema(
    [
        ("block", pa.int64()),
        ("first", pa.int64()),
        ("paths", pa.list_(pa.binary())),
        ("data", pa.list_(pa.large_binary())),
        ("errors", pa.list_(pa.string())),
        ("milliseconds", pa.list_(pa.float64())),
        ("trouble", pa.string()),  # what ends the run; answers travel as rows, because Ray would try again
    ]
)
_DONE = pa.schema(
    [
        ("block", pa.int64()),
        ("pictures", pa.int64()),
        ("failures", pa.int64()),
        ("begun", pa.float64()),
        ("trouble", pa.string()),
    ]
)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join the cluster at `address` (or in RAY_ADDRESS), or start Ray on this machine, until the block ends.

    Where the program has started Ray itself, that is used and left running. Raises DeviceError for a cluster that
    does not answer.
    """
    with _quiet():
        if ray.is_initialized():
            yield
            return
        wanted = _address(address)
        options = {"include_dashboard": False} if wanted == "local" else {}
        handlers = {number: signal.getsignal(number) for number in WISHES}
        try:
            ray.init(wanted, log_to_driver=False, logging_level=logging.ERROR, **options)
            _put_back(handlers)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise DeviceError(f"no Ray cluster can be joined at {wanted}: {_last_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _put_back(handlers: dict[int, Any]) -> None:
    """Ray takes SIGTERM for itself, and would end the program without a word."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def count_workers(wanted: int | None, threads: int) -> int:
    """Return the number of workers: as wanted, or as many as there are processors for.

    Raises OptionError for more threads of workers than processors.
    """
    cpus = int(ray.cluster_resources().get("CPU", 0))
    most = cpus // threads
    if (wanted or 1) > most:
        raise OptionError(
            f"{wanted or 1} workers with {threads} threads are too many for the {cpus} processors of the cluster: "
            + (f"at most {most}" if most else f"give at most {cpus} threads")
        )
    return wanted or most


def run_blocks(storage: Storage, manifest: Manifest, blocks: Sequence[int], workers: int) -> Iterator[Done]:
    """Detect in these blocks of the plan of a result; yield what came of each as soon as its file is there.

    Raises InputError for what a worker met (no space left, say), DeviceError where Ray itself fails.
    """
    output = storage.root if storage.local else storage.address
    with _quiet(), _context(workers):
        size = max(1, min(BLOCKS_PER_READ, len(blocks) // (4 * workers)))
        numbers = [pa.table({"block": blocks[start : start + size]}) for start in range(0, len(blocks), size)]
        done = (
            ray.data.from_arrow(numbers)
            .map_batches(
                _read,
                fn_args=(output, manifest.source, manifest.options.batch_size),
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=READER_CPU,
                compute=ray.data.TaskPoolStrategy(size=math.ceil(workers / WORKERS_PER_READER)),
            )
            .map_batches(
                _Actor,
                fn_constructor_args=(output,),
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=manifest.options.threads * WORKER_CPU,
                compute=ray.data.ActorPoolStrategy(size=workers),
                max_restarts=MAX_RESTARTS,
                max_task_retries=-1,
            )
        )
        try:
            for batch in done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    if row["trouble"] is not None:
                        raise InputError(f"{row['trouble']}; what is finished stays: go on with --resume")
                    yield Done(*(row[name] for name in Done._fields))
        except ray.exceptions.RayError as error:
            raise DeviceError(
                f"Ray gave up: {_last_line(error)}; what is finished stays: go on with --resume"
            ) from error


def _read(numbers: Any, output: str, source: Source, batch_size: int) -> Iterator[Any]:
    """The read stage: numbers of blocks in, one row of pictures for each out."""
    for number in numbers.column("block").to_pylist():
        try:
            block = read_block(Storage(output), number, batch_size)
            pictures = read_ahead(block, source)
        except EdgeSSDError as error:
            yield pa.Table.from_pylist([{"block": number, "trouble": str(error)}], schema=_CHUNK)
            continue
        yield pa.table(
            {
                "block": [number],
                "first": [block.first],
                "paths": [[os.fsencode(each.path) for each in pictures]],
                "data": [[each.data for each in pictures]],
                "errors": [[each.error for each in pictures]],
                "milliseconds": [[each.milliseconds for each in pictures]],
                "trouble": [None],
            },
            schema=_CHUNK,
        )


class _Actor:
    """One worker, as Ray holds it."""

    def __init__(self, output: str) -> None:
        self.worker: Worker | None = None
        self.trouble = ""
        try:
            self.worker = Worker(output, bool(ray.get_runtime_context().was_current_actor_reconstructed))
        except EdgeSSDError as error:
            self.trouble = str(error)

    def __call__(self, batch: Any) -> Iterator[Any]:
        for row in batch.to_batches(max_chunksize=1):
            yield pa.Table.from_pylist([self._answer(row)], schema=_DONE)

    def _answer(self, row: Any) -> dict[str, Any]:
        block, first, trouble = (row.column(name)[0].as_py() for name in ("block", "first", "trouble"))
        if trouble is not None or self.worker is None:
            return {"block": block, "trouble": trouble or self.trouble}
        columns = [row.column(name)[0].values for name in ("paths", "data", "errors", "milliseconds")]
        pictures = [
            Picture(os.fsdecode(path.as_py()), data.as_py(), error.as_py(), milliseconds.as_py())
            for path, data, error, milliseconds in zip(*columns, strict=True)
        ]
        try:
            return self.worker.detect_block(block, first, pictures)._asdict()
        except EdgeSSDError as error:
            return {"block": block, "trouble": str(error)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's notes about its own settings and progress from the user."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _context(workers: int) -> Iterator[None]:
    """Set up Ray Data for this run: rows as they are cut here, a bound for what is read ahead, no bars."""
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars, context.execution_options
    context.target_max_block_size = 1  # byte: every row, which is one of our blocks, travels alone
    context.enable_progress_bars = False
    options = ray.data.ExecutionOptions()
    options.resource_limits = ray.data.ExecutionResources.for_limits(
        object_store_memory=READ_AHEAD_PER_WORKER * workers
    )
    context.execution_options = options
    try:
        yield
    finally:
        context.target_max_block_size, context.enable_progress_bars, context.execution_options = before


def check_answers(address: str | None) -> None:
    """Raise DeviceError at once for a cluster whose host does not answer; Ray would try for minutes."""
    wanted = _address(address)
    host, _, port = wanted.rpartition(":")
    if wanted in ("local", "auto") or ray.is_initialized():
        return
    if not host or "/" in host or not port.isdigit():
        raise OptionError(f"--address {printable(wanted)}: write HOST:PORT of the head node, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {printable(wanted)} ({printable(error)}): start one with `ray start --head`, "
            "or leave --address out to use this machine alone"
        ) from None


def _address(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[-1] if lines else type(error).__name__, 400)
