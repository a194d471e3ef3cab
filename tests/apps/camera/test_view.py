import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera import benchmark
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.counters import parse_line, parse_zone
from edgessd.apps.camera.drawing import OwnDrawing, open_drawing
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.loop import run_camera
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.view import View, facts
from edgessd.detector import Detector
from edgessd.errors import DependencyError, InputError
from edgessd.runtimes.fake import FakeRuntime

ROOT = Path(__file__).resolve().parents[3]
PERSON = ("person", 0.9, (200, 150, 260, 300), 4)
SIZE = (640, 480)


class Scene:
    """A view with all that it needs; `results` are what the pipeline gives."""

    def __init__(self, shapes: Any = (), style: Any = "own") -> None:
        source = SimpleNamespace(name="x", live=True, frame_count=None)
        self.capture: Any = SimpleNamespace(source=source, trouble=None, dropped=7)
        engine = Engine(lambda *_: Detector(FakeRuntime()), {"a": "a.onnx"}, "a", threads=2)
        self.control = Control(engine, threading.Event())
        self.recorder = Recorder()
        self.view = View(self.capture, self.control, self.recorder, open_drawing(style), list(shapes))

    def run(self, results: Any, outputs: Any, **options: Any) -> Any:
        class Pipeline:
            capture = self.capture

            def __iter__(_self) -> Any:  # noqa: N805
                return iter(results)

        return run_camera(Pipeline(), self.view, outputs, self.recorder, self.control, **options)  # type: ignore[arg-type]


class Sink:
    def __init__(self, pictures: bool = True, error: Exception | None = None) -> None:
        self.pictures, self.error = pictures, error
        self.shown: list[Any] = []
        self.idled: list[Any] = []

    def add(self, result: Any, picture: Any) -> None:
        if self.error is not None:
            raise self.error
        self.shown.append(picture)

    def idle(self, picture: Any) -> None:
        self.idled.append(picture)

    def close(self) -> None: ...


def changed(picture: Any, rows: slice, columns: slice, value: int = 90) -> bool:
    return bool((picture[rows, columns] != value).any())


def test_boxes_panel_and_facts_are_on_the_picture(make_result: Any) -> None:
    scene = Scene()
    first = scene.view.draw(make_result(0, [PERSON], size=SIZE))
    assert changed(first, slice(150, 300), slice(198, 204)) and changed(first, slice(460, 480), slice(0, 300))
    assert not changed(first, slice(0, 60), slice(0, 100))  # there is no speed yet
    scene.recorder.start()
    scene.recorder.add(make_result(0).detections, {"run": 5.0}, 20.0)
    assert changed(scene.view.draw(make_result(1, size=SIZE)), slice(0, 60), slice(0, 100))
    scene.control.key(ord("i"))
    plain = scene.view.draw(make_result(1, size=SIZE))
    assert (plain == 90).all()


def test_facts_in_one_line() -> None:
    assert facts(Scene().control.engine.info) == "fake, fp32, fake, 2 threads, score 0.30"


def test_trouble_is_said_on_the_last_picture_and_goes_again(make_result: Any) -> None:
    scene = Scene()
    before = scene.view.draw(make_result(0, size=SIZE)).copy()
    assert scene.view.idle() is None
    scene.capture.trouble = "source lost: attempt 2"
    said = scene.view.idle()
    assert said is not None and (said != before).any() and (said[:100] == before[:100]).all()
    scene.capture.trouble = None
    assert scene.view.idle() is None


def test_trouble_before_the_first_picture_has_a_picture_of_its_own() -> None:
    scene = Scene()
    scene.capture.trouble = "no frame for 3 s"
    said = scene.view.idle()
    assert said is not None and said.shape == (480, 640, 3) and said.max() > 150


def test_lines_and_zones_are_drawn_with_their_counts(make_result: Any) -> None:
    shapes = [parse_line("door=0.2,0.5,0.8,0.5"), parse_zone("z=0.5,0.1,0.9,0.1,0.9,0.4")]
    scene = Scene(shapes)
    scene.control.numbers = False
    result = make_result(0, size=SIZE)
    result.counts = {"door": {"in": 3, "out": 0}, "z": {"inside": 0, "entered": 0}}
    picture = scene.view.draw(result)
    assert changed(picture, slice(238, 242), slice(140, 500)) and changed(picture, slice(46, 50), slice(330, 570))
    assert changed(picture, slice(245, 262), slice(310, 400))  # the label of the line


def test_supervision_draws_where_it_is_installed(make_result: Any) -> None:
    pytest.importorskip("supervision")
    for index in range(3):
        scene = Scene(style="supervision")
        objects = [PERSON, ("dog", 0.5, (400, 200, 500, 300), None)]
        picture = scene.view.draw(make_result(index, objects, size=SIZE))
        assert changed(picture, slice(200, 250), slice(198, 203)) and changed(picture, slice(250, 260), slice(398, 403))
    scene.view.draw(make_result(0, size=(320, 240)))  # a camera that changes its size
    assert type(open_drawing(None)) is not OwnDrawing


def test_supervision_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(DependencyError, match=r"edgessd\[track\]"):
        open_drawing("supervision")
    assert type(open_drawing(None)) is OwnDrawing


def test_supervision_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:  # on a system that is read-only as a whole
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("importlib.import_module", nowhere)
    with pytest.raises(DependencyError, match="set TMPDIR"):
        open_drawing("supervision")
    assert type(open_drawing(None)) is OwnDrawing


# the loop


def test_nothing_is_drawn_where_nobody_looks(make_result: Any) -> None:
    scene, log = Scene(), Sink(pictures=False)
    scene.run([make_result(0, [PERSON], size=SIZE)], [log])
    assert (log.shown[0] == 90).all()
    assert scene.run([make_result(1, size=SIZE)], []) == [] and scene.recorder.frames == 2


def test_output_that_fails_is_left_out(make_result: Any, capfd: pytest.CaptureFixture[str]) -> None:
    scene, good, bad = Scene(), Sink(), Sink(error=InputError("disk full"))
    failures = scene.run([make_result(number, size=SIZE) for number in range(3)], [bad, good])
    assert [str(error) for error in failures] == ["disk full"] and len(good.shown) == 3
    assert capfd.readouterr().err == "disk full; going on without it\n" and scene.control.notice == "disk full"


def test_fault_of_an_output_is_not_hidden(make_result: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        Scene().run([make_result(0)], [Sink(error=ZeroDivisionError())])


def test_pause_holds_the_picture_until_it_is_over(make_result: Any) -> None:
    scene, sink = Scene(), Sink()
    scene.control.paused = True
    threading.Timer(0.3, scene.control.toggle_pause).start()
    begun = time.monotonic()
    scene.run([make_result(0, size=SIZE), make_result(1, size=SIZE)], [sink])
    assert time.monotonic() - begun > 0.25
    assert len(sink.shown) == 2 and len(sink.idled) >= 2 and sink.idled[0] is not None


def test_trouble_is_shown_while_nothing_comes(make_result: Any) -> None:
    scene, sink = Scene(), Sink()
    scene.capture.trouble = "source lost"
    scene.run([make_result(0, size=SIZE), None, None, None], [sink])
    assert sink.idled[0] is not None and sink.idled[1] is None  # it is said once, not in each moment


def test_end_after_some_frames(make_result: Any) -> None:
    scene, sink = Scene(), Sink()
    scene.run([make_result(number) for number in range(9)], [sink], max_frames=4)
    assert len(sink.shown) == 4


# the benchmark key


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [(0, "", "the benchmark has ended"), (2, "error: no such model\n", "the benchmark failed: error: no such model")],
)
def test_benchmark_tells_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, error: str, text: str
) -> None:
    commands: list[Any] = []

    def run(command: Any, **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, code, "the table\n", error)

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    said: list[str] = []
    ended = threading.Event()
    benchmark.start_benchmark("a.onnx", lambda line: (said.append(line), ended.set()))  # type: ignore[arg-type, func-returns-value]
    assert ended.wait(5) and said[0].startswith(text)
    assert commands[0][1:5] == ["-m", "edgessd", "benchmark", "a.onnx"] and capsys.readouterr().out == "the table\n"


def test_core_alone_runs_the_camera(tmp_path: Path) -> None:
    extras = ("starlette", "uvicorn", "websockets", "supervision", "trackers", "paho", "torch", "matplotlib")
    script = f"import sys\nfor name in {extras}: sys.modules[name] = None\n" + (
        "import importlib.util\nfind = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name in {extras} else find(name, *a)\n"
        "from edgessd.cli.run import run\nrun('edgessd.cli.app', 'camera')\n"
    )
    arguments = ["--source", "demo", "--max-frames", "3", "-o", "out.mp4", "--no-window"]

    def run(*more: str) -> Any:
        command = [sys.executable, "-c", script, *arguments, *more]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    done = run()
    assert (done.returncode, done.stderr) == (0, "") and "frames      3\n" in done.stdout
    for option, extra in ((["--web", "0"], "web"), (["--track"], "track"), (["--drawing", "supervision"], "track")):
        done = run(*option)
        assert done.returncode == 2 and f"pip install 'edgessd[{extra}]'" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1
    done = run("--on-detect", "cat", "--mqtt", "mqtt://host/topic")
    assert done.returncode == 2 and "pip install 'edgessd[mqtt]'" in done.stderr


def test_picture_is_not_drawn_over_what_others_keep(make_result: Any) -> None:
    scene, sink = Scene(), Sink()
    scene.control.say("hello")
    scene.run([make_result(0, size=SIZE)], [sink])
    plain = scene.view._plain
    assert plain is not None and plain is not sink.shown[0] and (np.asarray(plain) != sink.shown[0]).any()
