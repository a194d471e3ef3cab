"""Counting and timing: what the panel, the summary and the JSON file say."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from edgessd.io.files import atomic_write, writing
from edgessd.results import Detections

STAGES = ("capture", "preprocess", "run", "postprocess", "draw", "output")
_RECENT = 30  # frames that the panel's numbers are taken over
_SAMPLE = 100_000  # latest frames that the summary's medians are taken over


class Recorder:
    """Collects counts and timings of every frame, and for JSON their detections too.

    keep_frames: whether detections of each frame are kept (in a temporary file, as there may be many).
    """

    def __init__(self, *, keep_frames: bool = False) -> None:
        self.frames = 0
        self.objects: Counter[str] = Counter()
        self._timings: dict[str, deque[float]] = {stage: deque(maxlen=_SAMPLE) for stage in STAGES}
        self._ends: deque[float] = deque(maxlen=_RECENT)
        self._begin: float | None = None
        self._end = 0.0
        self._kept = tempfile.TemporaryFile() if keep_frames else None  # noqa: SIM115 (closed in `close`)

    def start(self) -> None:
        """Begin to count time."""
        self._begin = time.perf_counter()
        self._ends.append(self._begin)

    def add(self, index: int, detections: Detections, timings: Mapping[str, float]) -> None:
        """Take the results of one frame; timings: milliseconds by stage."""
        self.frames += 1
        self.objects.update(detections.names)
        for stage in STAGES:
            if stage in timings:
                self._timings[stage].append(timings[stage])
        self._end = time.perf_counter()
        self._ends.append(self._end)
        if self._kept is not None:
            entry = {
                "index": index,
                "objects": detections.to_dict()["objects"],
                "milliseconds": {stage: round(timings[stage], 3) for stage in STAGES if stage in timings},
            }
            self._kept.write((",\n" if self.frames > 1 else "").encode() + json.dumps(entry).encode())

    def recent_fps(self) -> float:
        """Frames per second over the latest frames, 0 before the first."""
        passed = self._ends[-1] - self._ends[0] if len(self._ends) > 1 else 0.0
        return (len(self._ends) - 1) / passed if passed > 0 else 0.0

    def recent_timings(self) -> dict[str, float]:
        """Mean milliseconds of each stage over the latest frames."""
        recent = {stage: list(islice(reversed(values), _RECENT)) for stage, values in self._timings.items()}
        return {stage: sum(values) / len(values) for stage, values in recent.items() if values}

    def summary(self, dropped: int = 0) -> dict[str, Any]:
        """Plain values: frames, dropped, seconds, fps, median_ms by stage, objects by class (most frequent first)."""
        seconds = self._end - self._begin if self._begin is not None and self.frames else 0.0
        return {
            "frames": self.frames,
            "dropped": dropped,
            "seconds": round(seconds, 3),
            "fps": round(self.frames / seconds, 2) if seconds > 0 else 0.0,
            "median_ms": {stage: round(median(values), 3) for stage, values in self._timings.items() if values},
            "objects": dict(self.objects.most_common()),
        }

    def write_json(self, path: Path, head: Mapping[str, Any]) -> None:
        """Write one JSON document: the entries of `head`, then `frames` with the detections of each. Atomic."""
        with atomic_write(path) as temporary, writing(path), temporary.open("wb") as file:
            file.write(json.dumps(dict(head), indent=1).removesuffix("\n}").encode())
            file.write(b',\n "frames": [\n')
            if self._kept is not None:
                self._kept.seek(0)
                shutil.copyfileobj(self._kept, file)
            file.write(b"\n ]\n}\n")

    def close(self) -> None:
        """Free the temporary file."""
        if self._kept is not None:
            self._kept.close()
