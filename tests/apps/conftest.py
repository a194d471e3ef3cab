from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from edgessd.apps.camera.capture import Frame
from edgessd.apps.camera.pipeline import Result
from edgessd.results import Detections


@pytest.fixture(scope="session")
def mjpeg():
    """The module tests/apps/mjpeg_server.py."""
    spec = spec_from_file_location("mjpeg_server", Path(__file__).parent / "mjpeg_server.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_result():
    """A function that makes a Result: objects (class name, score, (x1, y1, x2, y2) in pixels, id or None)."""
    classes = ("person", "dog", "car")

    def make(index=0, objects=(), *, fps=10.0, size=(100, 100), time=None, wall=None, value=90):
        boxes = np.array([each[2] for each in objects], np.float32).reshape(-1, 4)
        scores = np.array([each[1] for each in objects], np.float32)
        labels = np.array([classes.index(each[0]) for each in objects], np.int64)
        image = np.full((size[1], size[0], 3), value, np.uint8)
        moment = index / fps if time is None else time
        timings = {"preprocess": 1.0, "run": 2.0, "postprocess": 3.0}
        found = Detections(boxes, scores, labels, classes, size, timings)
        ids = [each[3] for each in objects] if objects and len(objects[0]) > 3 else []
        return Result(Frame(index, image, 1.0, moment, moment, wall), found, ids, timings={"capture": 1.0, **timings})

    return make
