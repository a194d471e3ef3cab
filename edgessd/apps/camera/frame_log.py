"""What was found in each frame, as it comes, to a file or the terminal."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from edgessd.apps.camera.capture import Frame
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.worker import Worker
from edgessd.errors import InputError, OptionError
from edgessd.io import streams
from edgessd.io.files import (
    atomic_write,
    check_writable,
    close_synced,
    open_log,
    open_spool,
    printable,
    temporary_beside,
    writing,
)
from edgessd.io.images import Image
from edgessd.io.leftovers import keep

_QUEUE = 256  # frames that wait for the disk
COLUMNS = ("frame", "time", "name", "label", "score", "x1", "y1", "x2", "y2", "id")


class FrameLog:
    """An output that writes one entry per frame in a thread.

    live: rather lose entries (`dropped`) than stall the camera on a slow disk. write: takes the plain values of
    one frame (`frame_entry`). finish: called once after the last one.
    """

    pictures = False

    def __init__(self, write: Callable[[dict[str, Any]], None], finish: Callable[[], None], *, live: bool) -> None:
        self._finish = finish
        self._worker = Worker("log", write, size=_QUEUE, lossy=live)

    @property
    def dropped(self) -> int:
        """Entries that were lost."""
        return self._worker.dropped

    def add(self, result: Result, picture: Image) -> None:
        """Write the entry of one frame."""
        self._worker.put(frame_entry(result))

    def idle(self, picture: Image | None) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Write what waits, and finish."""
        try:
            self._worker.close()
        finally:
            self._finish()


def frame_entry(result: Result) -> dict[str, Any]:
    """Return plain values of one frame: index, time, objects (with `id` where tracked), counts, milliseconds.

    A log for reading, of many frames: scores have four digits behind the point and boxes two.
    time: seconds in the file; of a live source the date and time of day, in UTC.
    """
    objects: list[dict[str, Any]] = [
        {
            "name": found.name,
            "label": found.label,
            "score": round(found.score, 4),
            "box": [round(value, 2) for value in found.box],
        }
        for found in result.detections
    ]
    for each, number in zip(objects, result.ids, strict=False):
        each["id"] = number
    entry: dict[str, Any] = {
        "index": result.frame.index,
        "time": told_time(result.frame),
        "objects": objects,
        "milliseconds": {stage: round(value, 3) for stage, value in result.timings.items()},
    }
    if result.counts:
        entry["counts"] = {name: dict(count) for name, count in result.counts.items()}
    return entry


def told_time(frame: Frame) -> str | float:
    """Return when a frame was, for people: date and time of day in UTC, in a file seconds since its beginning."""
    if frame.wall is None:
        return round(frame.time, 4)
    return datetime.fromtimestamp(frame.wall, UTC).isoformat(timespec="milliseconds")


def json_lines(target: str, *, live: bool) -> FrameLog:
    """One JSON object a line, written at once; `-` is the terminal. Of a live source, behind earlier runs'."""
    file = _open(target, live=live)

    def write(entry: dict[str, Any]) -> None:
        with _refusals(target):
            file.write(json.dumps(entry) + "\n")
            file.flush()

    return FrameLog(write, _closer(target, file), live=live)


def csv_lines(target: str, *, live: bool) -> FrameLog:
    """One line per object, written at once; `-` is the terminal. Of a live source, behind those of earlier runs."""
    begun = live and target != "-" and _has_columns(Path(target))
    file = _open(target, live=live)
    writer = csv.writer(file, lineterminator="\n")
    if not begun:
        writer.writerow(COLUMNS)

    def write(entry: dict[str, Any]) -> None:
        head = (entry["index"], entry["time"])
        with _refusals(target):
            writer.writerows(
                (*head, each["name"], each["label"], each["score"], *each["box"], each.get("id"))
                for each in entry["objects"]
            )
            file.flush()

    return FrameLog(write, _closer(target, file), live=live)


def _has_columns(path: Path) -> bool:
    """Whether the file begins with our columns already. Raises InputError where it begins with something else."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with writing(path), path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(1000)
    if not first.endswith("\n") and ",".join(COLUMNS).startswith(first):
        return False  # a run that was killed at once
    if first.strip() == ",".join(COLUMNS):
        return True
    raise InputError(f"{printable(path)} is there and has other columns: name another file, or move it away")


class JsonDocument:
    """One JSON document, written at the end: the entries of `head`, then `frames`. Atomic.

    Frames wait in a temporary file beside it, an entry a line, as there may be many: what a killed run has left of
    them is kept at the next start (`io.leftovers`).
    """

    def __init__(self, path: Path, *, live: bool) -> None:
        self.path, self.frames = path, 0
        self._place = temporary_beside(check_writable(path).with_suffix(".jsonl"))
        with writing(path):
            self._kept = open_spool(self._place)
        self.log = FrameLog(self._add, lambda: None, live=live)

    def _add(self, entry: dict[str, Any]) -> None:
        with writing(self.path):
            self._kept.write(json.dumps(entry).encode() + b"\n")
        self.frames += 1

    def write(self, head: Mapping[str, Any]) -> None:
        """Write the document; without a frame there is none."""
        try:
            if self.frames:
                with atomic_write(self.path) as temporary, open_spool(temporary) as file:
                    self._copy(file, head)
        except InputError as error:
            self._kept.close()
            kept = keep(self._place, self.path.stem, ".jsonl")
            raise InputError(f"{error}; the frames are kept in {printable(kept)}, a line each") from error
        self._kept.close()
        self._place.unlink(missing_ok=True)

    def _copy(self, file: IO[bytes], head: Mapping[str, Any]) -> None:
        file.write(json.dumps(dict(head), indent=1).removesuffix("\n}").encode())
        file.write(b',\n "frames": [\n')
        self._kept.seek(0)
        for number, line in enumerate(self._kept):
            file.write((b",\n" if number else b"") + line.rstrip(b"\n"))
        file.write(b"\n ]\n}\n")


def _open(target: str, *, live: bool) -> IO[str]:
    return sys.stdout if target == "-" else open_log(Path(target), append=live)


@contextlib.contextmanager
def _refusals(target: str) -> Iterator[None]:
    if target != "-":
        with writing(Path(target)):
            yield
        return
    yield
    problem = streams.trouble(sys.stdout)
    if isinstance(problem, BrokenPipeError):
        raise BrokenPipeError  # a reader that goes away (head) ends the program, and is no error
    if problem is not None:
        raise InputError(f"cannot write to standard output: {problem.strerror}")


def _closer(target: str, file: IO[str]) -> Callable[[], None]:
    def close() -> None:
        with writing(Path(target)):
            close_synced(file)

    return (lambda: None) if target == "-" else close


def check_log_target(option: str, target: str, suffixes: tuple[str, ...], made: Path | None = None) -> None:
    """Refuse before the work what could only fail in it."""
    if target != "-":
        check_writable(Path(target), made)
        if Path(target).suffix.lower() not in suffixes:
            raise OptionError(f"{option} {printable(target)}: name it {' or '.join(f'*{s}' for s in suffixes)}, or -")
