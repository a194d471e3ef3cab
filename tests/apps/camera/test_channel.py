import os
import sys
import threading
import time

import pytest

from edgessd.apps.camera.channel import Channel, Empty, Ended
from edgessd.apps.camera.worker import Worker


def test_nothing_comes() -> None:
    channel: Channel[int] = Channel(2)
    begun = time.monotonic()
    with pytest.raises(Empty):
        channel.take(0.05)
    assert 0.04 < time.monotonic() - begun < 2


def test_order_is_kept_and_the_end_comes_after_the_last() -> None:
    channel: Channel[int] = Channel(3)
    for number in range(3):
        assert channel.put(number)
    channel.end(ValueError("it ended"))
    assert [channel.take() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="it ended"):
        channel.take()


def test_put_waits_for_room() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    threading.Timer(0.1, channel.take).start()
    begun = time.monotonic()
    assert channel.put(1)
    assert time.monotonic() - begun > 0.08


def test_newest_never_waits_and_counts_what_it_threw_away() -> None:
    channel: Channel[int] = Channel(1, newest=True)
    for number in range(5):
        assert channel.put(number)
    assert channel.take() == 4 and channel.dropped == 4


def test_closing_frees_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    threading.Timer(0.05, channel.close).start()
    assert channel.put(1) is False
    assert channel.wait_for_room() is False
    with pytest.raises(Ended):
        channel.take()


def test_worker_handles_in_order_and_finishes_what_waits() -> None:
    done: list[int] = []

    def handle(number: int) -> None:
        time.sleep(0.005)
        done.append(number)

    worker = Worker("test", handle, size=4, lossy=False)
    for number in range(20):
        worker.put(number)
    worker.close()
    assert done == list(range(20)) and worker.dropped == 0


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux only")
@pytest.mark.parametrize("lossy", [False, True])
def test_work_that_may_wait_gives_way_and_work_that_may_lose_does_not(lossy: bool) -> None:
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    seen: list[int] = []
    worker = Worker(
        "test", lambda _: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), size=2, lossy=lossy
    )
    worker.put(0)
    worker.close()
    assert seen == [here] if lossy else seen[0] > here
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here


def test_lossy_worker_never_stalls_its_caller() -> None:
    free = threading.Event()
    done: list[int] = []

    def handle(number: int) -> None:
        free.wait(5)
        done.append(number)

    worker = Worker("test", handle, size=3, lossy=True)
    worker.put(0)
    time.sleep(0.05)
    begun = time.monotonic()
    for number in range(1, 100):
        worker.put(number)
    assert time.monotonic() - begun < 2
    free.set()
    worker.close()
    assert done == [0, 97, 98, 99] and worker.dropped == 96


def test_error_of_the_work_reaches_the_caller_once() -> None:
    def handle(number: int) -> None:
        raise ValueError("disk full")

    worker = Worker("test", handle, size=2, lossy=False)
    with pytest.raises(ValueError, match="disk full"):
        for _ in range(100):
            worker.put(0)
            time.sleep(0.01)
    worker.close()


def test_close_does_not_wait_for_ever() -> None:
    stuck = threading.Event()
    worker = Worker("test", lambda _: stuck.wait(20), size=2, lossy=True)  # type: ignore[arg-type]
    worker.put(0)
    begun = time.monotonic()
    worker.close(timeout=0.1)
    assert time.monotonic() - begun < 3
    stuck.set()
