"""What was found in each frame, as it comes, to a file or the terminal."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.worker import Worker
from edgessd.errors import OptionError
from edgessd.io.files import atomic_write, check_writable, printable, writing
from edgessd.io.images import Image

_QUEUE = 256  # frames that wait for the disk
COLUMNS = ("frame", "time", "name", "label", "score", "x1", "y1", "x2", "y2", "id")


class FrameLog:
    """An output that writes one entry per frame in a thread.

    live: rather lose entries (`dropped`) than stall the camera on a slow disk. write: takes the plain values of
    one frame (`frame_entry`). finish: called once after the last one.
    """

    pictures = False

    def __init__(self, write: Callable[[dict[str, Any]], None], finish: Callable[[], None], *, live: bool) -> None:
        self._finish, self._live = finish, live
        self._worker = Worker("log", write, size=_QUEUE, lossy=live)

    @property
    def dropped(self) -> int:
        """Entries that were lost."""
        return self._worker.dropped

    def add(self, result: Result, picture: Image) -> None:
        """Write the entry of one frame."""
        self._worker.put(frame_entry(result, live=self._live))

    def idle(self, picture: Image | None) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Write what waits, and finish."""
        try:
            self._worker.close()
        finally:
            self._finish()


def frame_entry(result: Result, *, live: bool = False) -> dict[str, Any]:
    """Return plain values of one frame: index, time, objects (with `id` where tracked), counts, milliseconds.

    time: seconds in the file; of a live source the date and time of day, in UTC.
    """
    objects = result.detections.to_dict(classes=False)["objects"]
    for each, number in zip(objects, result.ids, strict=False):
        each["id"] = number
    stamp = result.frame.stamp
    entry: dict[str, Any] = {
        "index": result.frame.index,
        "time": datetime.fromtimestamp(stamp, UTC).isoformat(timespec="milliseconds") if live else round(stamp, 4),
        "objects": objects,
        "milliseconds": {stage: round(value, 3) for stage, value in result.timings.items()},
    }
    if result.counts:
        entry["counts"] = {name: dict(count) for name, count in result.counts.items()}
    return entry


def json_lines(target: str, *, live: bool) -> FrameLog:
    """One JSON object a line, written at once; `-` is the terminal."""
    file = _open(target)

    def write(entry: dict[str, Any]) -> None:
        with _refusals(target):
            file.write(json.dumps(entry) + "\n")
            file.flush()

    return FrameLog(write, _closer(file), live=live)


def csv_lines(target: str, *, live: bool) -> FrameLog:
    """One line per object, written at once; `-` is the terminal."""
    file = _open(target)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)

    def write(entry: dict[str, Any]) -> None:
        head = (entry["index"], entry["time"])
        with _refusals(target):
            writer.writerows(
                (*head, each["name"], each["label"], each["score"], *each["box"], each.get("id"))
                for each in entry["objects"]
            )
            file.flush()

    return FrameLog(write, _closer(file), live=live)


class JsonDocument:
    """One JSON document, written at the end: the entries of `head`, then `frames`. Atomic.

    Frames wait in a temporary file, as there may be many.
    """

    def __init__(self, path: Path, *, live: bool) -> None:
        check_writable(path)
        self.path, self.frames = path, 0
        self._kept = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `write`)
        self.log = FrameLog(self._add, lambda: None, live=live)

    def _add(self, entry: dict[str, Any]) -> None:
        with writing(self.path):
            self._kept.write((",\n" if self.frames else "").encode() + json.dumps(entry).encode())
        self.frames += 1

    def write(self, head: Mapping[str, Any]) -> None:
        """Write the document; without a frame there is none."""
        try:
            if self.frames == 0:
                return
            with atomic_write(self.path) as temporary, writing(self.path), temporary.open("wb") as file:
                file.write(json.dumps(dict(head), indent=1).removesuffix("\n}").encode())
                file.write(b',\n "frames": [\n')
                self._kept.seek(0)
                shutil.copyfileobj(self._kept, file)
                file.write(b"\n ]\n}\n")
        finally:
            self._kept.close()


def _open(target: str) -> IO[str]:
    if target == "-":
        return sys.stdout
    path = Path(target)
    check_writable(path)
    with writing(path):
        return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def _refusals(target: str) -> contextlib.AbstractContextManager[None]:
    # A reader of the terminal that goes away (head) ends the program, and is no error.
    return contextlib.nullcontext() if target == "-" else writing(Path(target))


def _closer(file: IO[str]) -> Callable[[], None]:
    return (lambda: None) if file is sys.stdout else file.close


def check_log_target(option: str, target: str, suffixes: tuple[str, ...]) -> None:
    """Refuse before the work what could only fail in it."""
    if target != "-":
        check_writable(Path(target))
        if Path(target).suffix.lower() not in suffixes:
            raise OptionError(f"{option} {printable(target)}: name it {' or '.join(f'*{s}' for s in suffixes)}, or -")
