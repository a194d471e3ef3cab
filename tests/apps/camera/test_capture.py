import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera.capture import Capture
from edgessd.errors import InputError
from edgessd.io.video import VideoFrame


class Source:
    """Yields frames whose value is their number; `pause` seconds before each, then `error` or the end."""

    fps = 25.0
    frame_count: int | None = None
    name = "test"
    trouble: str | None = None

    def __init__(self, count: int, *, live: bool = False, pause: float = 0.0, error: Exception | None = None) -> None:
        self.count, self.live, self.pause, self.error = count, live, pause, error
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.count):
            time.sleep(self.pause)
            self.read += 1
            yield VideoFrame(np.full((2, 2, 3), number, np.uint8), number / 25)
        if self.error is not None:
            raise self.error

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def numbers(capture: Capture, pause: float = 0.0) -> list[int]:
    found = []
    for frame in capture:
        assert frame.image[0, 0, 0] == frame.index % 256
        found.append(frame.index)
        time.sleep(pause)
    return found


@pytest.mark.parametrize(("count", "pause"), [(0, 0.0), (1, 0.0), (200, 0.0), (20, 0.005)])
def test_every_frame_of_a_file_is_delivered(count: int, pause: float) -> None:
    source = Source(count)
    with Capture(source) as capture:
        assert numbers(capture, pause) == list(range(count))
        assert capture.dropped == 0
    assert source.closed


def test_a_file_is_not_read_far_ahead() -> None:
    source = Source(100)
    with Capture(source) as capture:
        next(iter(capture))
        time.sleep(0.1)
        assert source.read < 10
    assert source.closed  # though the thread was waiting for room


def test_of_a_live_source_the_newest_frame_is_taken_and_the_others_are_counted() -> None:
    with Capture(Source(60, live=True, pause=0.004)) as capture:
        found = numbers(capture, pause=0.04)
        assert found == sorted(found) and found[-1] == 59
        assert 3 <= len(found) <= 25
        assert capture.dropped == 60 - len(found)


@pytest.mark.parametrize("live", [False, True])
def test_error_of_the_source_comes_after_its_last_frame(live: bool) -> None:
    with Capture(Source(3, live=live, pause=0.02, error=InputError("it ended"))) as capture:
        found = []
        with pytest.raises(InputError, match="it ended"):
            for frame in capture:
                found.append(frame.index)
    assert found == [0, 1, 2]


def test_stop_ends_the_wait_for_a_frame() -> None:
    stop = threading.Event()
    with Capture(Source(1, live=True, pause=0.7), stop=stop) as capture:
        threading.Timer(0.05, stop.set).start()
        began = time.monotonic()
        assert numbers(capture) == []
        assert time.monotonic() - began < 0.6


def test_live_source_that_falls_silent_says_so_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgessd.apps.camera.capture._SILENCE", 0.1)
    with Capture(Source(2, live=True, pause=0.4)) as capture:
        time.sleep(0.25)
        assert capture.trouble == "no frame for 0 s"
        next(iter(capture))
        assert capture.trouble is None
    with Capture(Source(1, pause=0.3)) as capture:
        time.sleep(0.2)
        assert capture.trouble is None  # a file takes the time that it takes


def test_each_nth_frame() -> None:
    with Capture(Source(10), every=3) as capture:
        assert numbers(capture) == [0, 3, 6, 9]


def test_a_file_is_slowed_down_and_a_live_source_thinned_out() -> None:
    begun = time.monotonic()
    with Capture(Source(11), max_fps=40) as capture:
        assert numbers(capture) == list(range(11))
    assert 0.24 < time.monotonic() - begun < 2
    with Capture(Source(60, live=True, pause=0.005), max_fps=20) as capture:
        found = numbers(capture)
    assert 4 <= len(found) <= 11 and capture.dropped < 5


def test_time_of_a_frame_is_that_of_its_source() -> None:
    with Capture(Source(5), every=2) as capture:
        assert [(frame.time, frame.wall) for frame in capture] == [(0.0, None), (2 / 25, None), (4 / 25, None)]
    with Capture(Source(1, live=True)) as capture:
        frame = next(iter(capture))
        assert frame.time == 0.0 and frame.wall is not None and abs(frame.wall - time.time()) < 5


def test_leaving_early_closes_the_source() -> None:
    source = Source(10_000)
    with pytest.raises(ZeroDivisionError), Capture(source) as capture:
        for _ in capture:
            raise ZeroDivisionError
    assert source.closed
