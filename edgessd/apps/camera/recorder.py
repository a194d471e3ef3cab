"""Counting and timing: what the panel, the summary and the web view say."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice
from statistics import median
from typing import Any

from edgessd.results import Detections

STAGES = ("capture", "preprocess", "run", "postprocess", "track", "draw", "output")
_RECENT = 30  # frames that the panel's numbers are taken over
_SAMPLE = 5_000  # latest frames that the summary's medians are taken over


class Recorder:
    """Collects counts and timings of every frame; memory does not grow with them."""

    def __init__(self) -> None:
        self.frames = 0
        self.objects: Counter[str] = Counter()
        self.counts: Mapping[str, Mapping[str, int]] = {}  # of lines and zones, the latest
        self.latest_age = 0.0
        self._timings: dict[str, deque[float]] = {stage: deque(maxlen=_SAMPLE) for stage in STAGES}
        self._ages: deque[float] = deque(maxlen=_SAMPLE)
        self._ends: deque[float] = deque(maxlen=_RECENT)
        self._begin: float | None = None
        self._end = 0.0
        self._lock = threading.Lock()  # the web view reads while frames are added

    def start(self) -> None:
        """Begin to count time."""
        self._begin = time.perf_counter()
        self._ends.append(self._begin)

    def add(
        self,
        detections: Detections,
        timings: Mapping[str, float],
        age: float = 0.0,
        counts: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Take the results of one frame; timings: milliseconds by stage; age: of the frame when it was shown.

        counts: of lines and zones until now, by name.
        """
        with self._lock:
            self.frames += 1
            self.objects.update(detections.names)
            self.counts = counts or self.counts
            for stage in STAGES:
                if stage in timings:
                    self._timings[stage].append(timings[stage])
            self.latest_age = age
            self._ages.append(age)
            self._end = time.perf_counter()
            self._ends.append(self._end)

    def recent_fps(self) -> float:
        """Frames per second over the latest frames, 0 before the first and when none came for some seconds."""
        with self._lock:
            passed = self._ends[-1] - self._ends[0] if len(self._ends) > 1 else 0.0
            count = len(self._ends) - 1
            waited = time.perf_counter() - self._ends[-1] if self._ends else 0.0
        if passed <= 0 or waited > 3 + 2 * passed / count:
            return 0.0
        return count / passed

    def recent_timings(self) -> dict[str, float]:
        """Mean milliseconds of each stage over the latest frames."""
        with self._lock:
            recent = {stage: list(islice(reversed(values), _RECENT)) for stage, values in self._timings.items()}
        return {stage: sum(values) / len(values) for stage, values in recent.items() if values}

    def recent_age(self) -> float:
        """Mean milliseconds from capture to display over the latest frames."""
        with self._lock:
            ages = list(islice(reversed(self._ages), _RECENT))
        return sum(ages) / len(ages) if ages else 0.0

    def summary(self, dropped: int = 0) -> dict[str, Any]:
        """Plain values: frames, dropped, seconds, fps, median_ms by stage, age_ms, objects by class (most first).

        `counts` of lines and zones where there are some.
        """
        with self._lock:
            seconds = self._end - self._begin if self._begin is not None and self.frames else 0.0
            ages = sorted(self._ages)
            return {
                "frames": self.frames,
                "dropped": dropped,
                "seconds": round(seconds, 3),
                "fps": round(self.frames / seconds, 2) if seconds > 0 else 0.0,
                "median_ms": {stage: round(median(values), 3) for stage, values in self._timings.items() if values},
                "age_ms": {"median": round(median(ages), 3), "p99": round(ages[(len(ages) - 1) * 99 // 100], 3)}
                if ages
                else {},
                "objects": dict(self.objects.most_common()),
                **({"counts": {name: dict(count) for name, count in self.counts.items()}} if self.counts else {}),
            }
