import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera import reconnect
from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.reconnect import Reconnecting
from edgessd.apps.camera.sources import open_source
from edgessd.errors import InputError
from edgessd.io.video import VideoFrame


class Flaky:
    name, live, fps, frame_count, trouble, pixel_aspect = "cam", True, 30.0, None, None, 1

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.frames):
            yield VideoFrame(np.zeros((2, 2, 3), np.uint8), 0.0)
        raise InputError("cam: no more frames")

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def opener(*plan: int | None) -> Any:
    """Opens sources of so many frames; None is a refusal."""
    left = list(plan)

    def open_again() -> Flaky:
        frames = left.pop(0) if left else None
        if frames is None:
            raise InputError("cam cannot be opened: try another number")
        return Flaky(frames)

    return open_again


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "PAUSES", (0.02, 0.04, 0.08))


def test_source_that_never_opens_is_an_error() -> None:
    with pytest.raises(InputError, match="try another number"):
        Reconnecting(opener(None))


def test_source_that_opens_and_never_sends_is_an_error() -> None:
    with pytest.raises(InputError, match="no more frames"):
        list(Reconnecting(opener(0, 5)))


def test_lost_source_comes_back_after_refusals(capfd: pytest.CaptureFixture[str]) -> None:
    source = Reconnecting(opener(3, None, None, 4, 2), retries=5)
    seen = 0
    with pytest.raises(InputError, match="cannot be opened"):
        for _ in source:
            seen += 1
    assert seen == 9 and source.reconnects == 2
    assert capfd.readouterr().err.count("lost; trying again") == 3


def test_pauses_grow_and_the_trouble_is_told() -> None:
    source = Reconnecting(opener(1, None, None, None, 1), retries=4)
    told, begun = set(), time.monotonic()
    frames = iter(source)
    next(frames)
    thread = threading.Thread(target=next, args=(frames,))
    thread.start()
    while thread.is_alive():
        told.add(source.trouble)
        time.sleep(0.002)
    assert time.monotonic() - begun > 0.02 + 0.04 + 0.08 + 0.08
    assert {"source lost: attempt 1 in 0.02 s", "source lost: attempt 3 in 0.08 s"} <= told
    assert source.trouble is None


def test_interrupt_ends_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "PAUSES", (30.0,))
    with Capture(Reconnecting(opener(1))) as capture:
        next(iter(capture))
        time.sleep(0.05)
        assert capture.trouble == "source lost: attempt 1 in 30 s"
        begun = time.monotonic()
    assert time.monotonic() - begun < 1


def test_stream_killed_and_restarted_comes_back_each_time(mjpeg: Any) -> None:
    server = mjpeg.MjpegServer(fps=50)
    source = Reconnecting(lambda: open_source(server.url, timeout=5))
    try:
        with Capture(source) as capture:
            frames = iter(capture)
            for round_ in range(4):
                while source.reconnects < round_ or capture.trouble is not None:
                    next(frames)
                for _ in range(5):
                    next(frames)
                if round_ < 3:
                    server.kill()
                    time.sleep(0.05)
                    server.start()
        assert source.reconnects == 3
    finally:
        server.kill()
