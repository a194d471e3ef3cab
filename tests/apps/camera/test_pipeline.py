import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.pipeline import Pipeline, Result
from edgessd.apps.camera.sources import open_source
from edgessd.detector import Detector
from edgessd.errors import InputError
from edgessd.io.video import VideoFrame
from edgessd.results import Detections
from edgessd.runtimes.fake import FakeRuntime

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ("a",), (8, 8))


class Source:
    fps, frame_count, name, trouble = 25.0, None, "test", None

    def __init__(self, count: int, *, live: bool = False, pause: float = 0.0, error: Exception | None = None) -> None:
        self.count, self.live, self.pause, self.error = count, live, pause, error

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.count):
            time.sleep(self.pause)
            yield VideoFrame(np.full((8, 8, 3), number % 256, np.uint8), number / 25)
        if self.error is not None:
            raise self.error

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def detect_in(seconds: float) -> Any:
    def detect(image: Any) -> Detections:
        time.sleep(seconds)
        return NOTHING

    return detect


def run(source: Source, detect: Any, output: float = 0.0, **options: Any) -> list[Result]:
    found = []
    with Capture(source) as capture, Pipeline(capture, detect, **options) as pipeline:
        for result in pipeline:
            if result is not None:
                found.append(result)
                time.sleep(output)
    return found


@pytest.mark.parametrize(("pause", "work", "output"), [(0, 0, 0), (0.003, 0, 0), (0, 0.003, 0), (0, 0, 0.003)])
def test_every_frame_of_a_file_in_order_whichever_stage_is_slow(pause: float, work: float, output: float) -> None:
    found = run(Source(40, pause=pause), detect_in(work), output)
    assert [result.frame.index for result in found] == list(range(40))


def test_stages_run_beside_each_other() -> None:
    begun = time.monotonic()
    run(Source(30, pause=0.02), detect_in(0.02), 0.02)
    # One after the other it would be 1.8 s; the slowest stage alone is 0.6 s (benchmarks/camera.py has the ratio).
    assert time.monotonic() - begun < 1.3


def test_a_live_frame_is_the_newest_when_detection_begins_even_behind_a_slow_output() -> None:
    ages = []

    def detect(image: Any) -> Detections:
        time.sleep(0.02)
        return NOTHING

    with Capture(Source(400, live=True, pause=0.005)) as capture, Pipeline(capture, detect) as pipeline:
        for result in pipeline:
            if result is not None:
                time.sleep(0.1)
                ages.append(time.perf_counter() - result.frame.arrived)
    # At most: its detection, the output before it, its own output.
    assert len(ages) > 10 and np.median(ages) < 0.24 and capture.dropped > 200


def test_error_of_the_source_comes_after_its_last_result() -> None:
    found = []
    with (
        pytest.raises(InputError, match="it ended"),
        Capture(Source(3, error=InputError("it ended"))) as capture,
        Pipeline(capture, detect_in(0.01)) as pipeline,
    ):
        found.extend(result for result in pipeline if result is not None)
    assert len(found) == 3


def test_fault_of_the_detector_is_raised_where_results_are_taken() -> None:
    def detect(image: Any) -> Detections:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Source(3), detect)


def test_leaving_early_ends_all_threads() -> None:
    before = threading.active_count()
    with Capture(Source(100_000)) as capture, Pipeline(capture, detect_in(0)) as pipeline:
        next(iter(pipeline))
    assert threading.active_count() == before


def test_timings_of_all_stages_and_of_followers() -> None:
    class Follower:
        def follow(self, result: Result) -> None:
            result.counts = {"line": {"in": 1}}

    (result,) = run(Source(1), Detector(FakeRuntime()), followers=[Follower()])
    assert set(result.timings) == {"capture", "preprocess", "run", "postprocess", "track"}
    assert result.counts == {"line": {"in": 1}}


def test_live_stream_with_a_slow_model_stays_young_and_memory_flat(mjpeg: Any) -> None:
    class Slow(FakeRuntime):
        def run(self, batch: Any) -> Any:
            time.sleep(0.2)
            return super().run(batch)

    server = mjpeg.MjpegServer(fps=30)
    ages: list[float] = []
    try:
        with Capture(open_source(server.url)) as capture, Pipeline(capture, Detector(Slow())) as pipeline:
            for result in pipeline:
                if result is not None:
                    ages.append(time.perf_counter() - server.sent[mjpeg.number_of(result.frame.image)])
                if len(ages) == 16:
                    break
    finally:
        server.kill()
    assert np.median(ages[3:]) < 2 * 0.2  # from the moment when the server sent it
    assert capture.dropped > 30
