import threading
import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from edgessd.apps.camera.capture import Frame
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.detector import Detector
from edgessd.draw.detections import draw_detections
from edgessd.runtimes.fake import FakeRuntime

# The web view is an extra; with the core install alone there is nothing here to test.
if any(find_spec(name) is None for name in ("starlette", "uvicorn", "websockets")):
    collect_ignore_glob = ["*"]
else:
    from edgessd.apps.camera.web.server import WebAddress, WebOutput

ANSWERS = [("cat", 0.9, (0.1, 0.2, 0.45, 0.8)), ("dog", 0.6, (0.55, 0.3, 0.9, 0.9))]


class Running:
    """A web view over a source of moving pictures at 25 frames a second."""

    def __init__(self, token=None, size=(320, 240), fps=25.0, certificate=None):
        self.size, self.fps, self.frames = size, fps, 0
        self.source = SimpleNamespace(name="test", live=True, trouble=None, reconnects=0, frame_count=None)
        self.capture = SimpleNamespace(source=self.source, trouble=None, dropped=3)
        self.engine = Engine(
            lambda model, runtime: Detector(FakeRuntime(ANSWERS, classes=("cat", "dog", "cow"))),
            {"one": "one.onnx", "two": "two.onnx"},
            "one",
            say=lambda _: None,
        )
        self.control = Control(self.engine, threading.Event())
        self.recorder = Recorder()
        self.recorder.start()
        self.address = WebAddress.parse("127.0.0.1:0", token, certificate)
        self.output = WebOutput(self.address, self.control, self.capture, self.recorder)
        self.hub, self.port, self.slowest = self.output.hub, self.address.port, 0.0
        self.base = f"http://127.0.0.1:{self.port}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self):
        while not self._stop.wait(1 / self.fps):
            if self.control.paused or self.capture.trouble:
                self.output.idle(None)
                continue
            image = np.full((self.size[1], self.size[0], 3), 60, np.uint8)
            image[:, self.frames * 4 % self.size[0]] = (0, 200, 255)
            begun = time.perf_counter()
            found = self.engine.detect(image)
            drawn = draw_detections(image, found.boxes, found.labels, found.scores, found.names)
            timings = {"capture": 1.0, **found.timings, "draw": 1.0}
            result = Result(Frame(self.frames, image, 1.0, begun, time.time()), found, timings=timings)
            adding = time.perf_counter()
            self.output.add(result, drawn)
            self.slowest = max(self.slowest, time.perf_counter() - adding)
            self.recorder.add(found, timings, (time.perf_counter() - begun) * 1e3)
            self.frames += 1

    def close(self):
        self._stop.set()
        self._thread.join(5)
        self.output.close()
        self.engine.close()


@pytest.fixture
def run_web():
    """A function that starts a web view; all are closed at the end."""
    started = []

    def run(**options):
        started.append(Running(**options))
        return started[-1]

    yield run
    for each in started:
        each.close()


@pytest.fixture
def web(run_web):
    return run_web()
