"""A model that was loaded before `os.fork`: its child says so in one line, can load it anew, and ends."""

import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from edgessd import Detector
from edgessd.errors import EngineError
from edgessd.runtimes import FakeRuntime, _fork
from edgessd.runtimes.cache import RuntimeCache

BLANK = np.zeros((40, 60, 3), np.uint8)

# With more threads than processors torch itself crashes in a child that ends, whether edgessd is there or not.
PROGRAM = """
import multiprocessing, os, sys, threading, time
import edgessd
from edgessd import Detector, zoo
from edgessd.errors import EdgeSSDError, EngineError

engine, model, again = sys.argv[1], sys.argv[2], sys.argv[3] == "again"
picture = edgessd.load_image(zoo.photos()[0])
detectors = [Detector.load(model, engine, threads=threads) for threads in ((None, 2, 4) if again else (None, 2))]
expected = [detector(picture) for detector in detectors][0]
edgessd.detect(picture, model, engine, 2)
time.sleep(0.3)  # the threads of the engines fall asleep: from there they do not come back in a child

def run():
    for detector in [*detectors, detectors[0].with_options(score_threshold=0.9)]:
        try:
            detector(picture)
        except EngineError as error:
            assert "forked" in str(error) and "\\n" not in str(error), error
        else:
            raise AssertionError("it ran")

def close():
    for detector in detectors:
        detector.close()
        detector.close()

def drop():
    detectors.clear()

def evict():  # from the cache of detect
    if again:
        for threads in (1, 2, 3, 4, 5, 2):
            assert len(edgessd.detect(picture, model, engine, threads)) == len(expected)

def anew():
    try:
        with Detector.load(model, engine) as detector:
            assert np_equal(detector(picture), expected)
        assert again
    except EngineError as error:
        assert not again and "forked" in str(error), error

def np_equal(a, b):
    return a.scores.tolist() == b.scores.tolist()

def nested():
    assert end(os.fork() or child(anew)) == 7

def child(what):
    what()
    sys.stdout.flush()
    sys.exit(7)  # the interpreter ends in the usual way

def end(pid):
    until = time.monotonic() + 100
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "it hangs"

for what in (run, close, drop, evict, anew, nested):
    print(what.__name__, end(os.fork() or child(what)))
process = multiprocessing.get_context("fork").Process(target=anew)
process.start()
process.join(30)
print("multiprocessing", process.exitcode)
assert np_equal(detectors[0](picture), expected)  # the parent goes on
if process.is_alive():
    process.kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "litert", "openvino", "torch"])
def test_children_of_a_process_that_detected(engine, checkpoint):
    model = "edgessd-coco"
    if engine == "torch":
        model = checkpoint()
    elif engine != "onnx":
        pytest.importorskip({"litert": "ai_edge_litert", "openvino": "openvino"}[engine])
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, engine, model, "once" if engine == "torch" else "again"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    names = ("run", "close", "drop", "evict", "anew", "nested")
    assert done.stdout.splitlines() == [*(f"{name} 7" for name in names), "multiprocessing 0"], done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_child_inherits_is_neither_run_nor_freed():
    class Native(FakeRuntime):
        freed = False

        def free(self):
            self.freed = True

    runtime = Native()
    runtime._lock.acquire()  # by another thread of the parent
    runtime.forked()
    detector = Detector(runtime)
    with pytest.raises(EngineError, match=r"loaded before this process was forked.*: load the model in the child"):
        detector(BLANK)
    detector.close()
    detector.close()
    assert not runtime.freed
    with pytest.raises(EngineError, match="was closed"):
        detector(BLANK)


def test_an_engine_that_cannot_be_loaded_in_a_child_says_so(monkeypatch):
    class Native(FakeRuntime):
        loads_after_fork = False

    Native()
    monkeypatch.setattr(_fork, "lost", set())
    monkeypatch.setattr(_fork, "_loaded", weakref.WeakSet())
    monkeypatch.setattr(_fork, "_kinds", {Native, FakeRuntime})
    _fork._in_child()
    with pytest.raises(EngineError, match="spawn"):
        Native()
    FakeRuntime()


def test_the_cache_of_a_child_is_empty_and_free(monkeypatch):
    monkeypatch.setattr("edgessd.runtimes.cache.load_runtime", lambda *_, **__: FakeRuntime())
    cache = RuntimeCache()
    first = cache.get(Path("a.onnx"))
    cache._lock.acquire()  # by another thread of the parent
    cache._empty()
    assert cache.get(Path("a.onnx")) is not first
