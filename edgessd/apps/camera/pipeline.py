"""Two stages of the three: capture and detection in threads; output is whoever iterates.

    Capture (thread) --> detect, track, count (thread) --> drawing and outputs (the caller's thread)

The hand-overs are short queues. Before a live frame is taken there must be room for its result, so that
the frame is the newest at the moment when detection begins, however slow the output is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from edgessd.apps.camera.capture import Capture, Frame
from edgessd.apps.camera.channel import Channel, Empty, Ended
from edgessd.io.images import Image
from edgessd.results import Detections

_TICK = 0.05  # seconds after which the caller gets None, so that it can look at keys and wishes
_AHEAD = 2  # results of a file that wait for the output


@dataclass
class Result:
    """One frame and what was found in it.

    ids: one per detection, None where it belongs to no track (yet); empty without tracking.
    counts: of lines and zones, by name. timings: milliseconds by stage. drawn: whether boxes are drawn into the
    frame's picture already.
    """

    frame: Frame
    detections: Detections
    ids: Sequence[int | None] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    drawn: bool = False


class Follower(Protocol):
    """What looks at the detections of one frame after the other."""

    def follow(self, result: Result) -> None:
        """Fill in `ids` or `counts`."""


class Pipeline:
    """Context manager and iterator over results; None comes where there was none for a moment.

    detect: picture to detections; it runs in the pipeline's thread. Errors of the source and of `detect` are
    raised after the last good result. Iterating ends when the source ends or `stop` is set.
    """

    def __init__(
        self,
        capture: Capture,
        detect: Callable[[Image], Detections],
        followers: Sequence[Follower] = (),
        *,
        stop: threading.Event | None = None,
    ) -> None:
        self.capture = capture
        self._detect, self._followers = detect, followers
        self._stop = stop if stop is not None else threading.Event()
        self._results: Channel[Result] = Channel(1 if capture.source.live else _AHEAD)
        self._thread = threading.Thread(target=self._work, name="edgessd-detect", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._results.close()
        self._thread.join(10.0)

    def __iter__(self) -> Iterator[Result | None]:
        while not self._stop.is_set():
            try:
                result = self._results.take(_TICK)
            except Empty:
                yield None
                continue
            except Ended:
                return
            yield result

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            while self._results.wait_for_room():
                try:
                    frame = self.capture.take(0.2)
                except Empty:
                    continue
                if not self._results.put(self._one(frame)):
                    return
        except Ended:
            pass
        except BaseException as problem:  # raised again at the caller
            error = problem
        self._results.end(error)

    def _one(self, frame: Frame) -> Result:
        detections = self._detect(frame.image)
        result = Result(frame, detections, timings={"capture": frame.capture_ms, **detections.timings})
        result.timings.pop("read", None)
        if self._followers:
            begun = time.perf_counter()
            for follower in self._followers:
                follower.follow(result)
            result.timings["track"] = (time.perf_counter() - begun) * 1e3
        return result
