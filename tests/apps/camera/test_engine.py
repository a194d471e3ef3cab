import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd import zoo
from edgessd.apps.camera import control as control_module
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.models import choices, runtimes_of
from edgessd.detector import Detector
from edgessd.errors import DependencyError, InputError, ModelError, OptionError
from edgessd.model_file import kinds
from edgessd.runtimes.fake import FakeRuntime

ANSWERS = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8)), ("dog", 0.6, (0.5, 0.5, 0.9, 0.9))]
PICTURE = np.zeros((60, 80, 3), np.uint8)


class Runtime(FakeRuntime):
    def __init__(self, name: str, classes: tuple[str, ...] = ("cat", "dog")) -> None:
        super().__init__([answer for answer in ANSWERS if answer[0] in classes], classes)
        self.name, self.closed = name, False

    def close(self) -> None:
        self.closed = True


def make(**plan: Any) -> tuple[Engine, list[tuple[str, str | None]], list[str]]:
    """An engine of the models a.onnx and b.onnx; plan: runtime or model name to what loading it gives."""
    asked: list[tuple[str, str | None]] = []
    said: list[str] = []

    def load(model: str, runtime: str | None) -> Detector:
        asked.append((model, runtime))
        made = plan.get(runtime or Path(model).stem, Runtime(f"{runtime or 'onnx'}runtime"))
        if isinstance(made, Exception):
            raise made
        return Detector(made)

    return Engine(load, {"a": "a.onnx", "b": "b.onnx"}, "a", say=said.append), asked, said


def settle(engine: Engine) -> None:
    deadline = time.monotonic() + 5
    while engine.changing and time.monotonic() < deadline:
        time.sleep(0.005)


def test_threshold_and_classes_change_what_is_found() -> None:
    engine, _, _ = make()
    assert engine.detect(PICTURE).names == ("cat", "dog")
    engine.set_threshold(0.7)
    assert engine.detect(PICTURE).names == ("cat",) and engine.info.score_threshold == 0.7
    engine.set_threshold(0.2)
    engine.set_classes(["dog"])
    assert engine.detect(PICTURE).names == ("dog",) and engine.info.chosen == ("dog",)
    engine.set_classes(None)
    assert len(engine.detect(PICTURE)) == 2
    with pytest.raises(OptionError, match="no class 'cow'"):
        engine.set_classes(["cow"])
    with pytest.raises(OptionError, match="classes names none"):
        engine.set_classes([])
    assert engine.info.chosen is None


def test_next_model_takes_threshold_along_and_frees_the_old_one() -> None:
    old, new = Runtime("onnxruntime"), Runtime("onnxruntime", ("dog",))
    engine, asked, said = make(a=old, b=new)
    engine.set_threshold(0.55)
    engine.set_classes(["cat"])
    engine.next_model()
    settle(engine)
    assert asked == [("a.onnx", None), ("b.onnx", None)] and old.closed and not new.closed
    assert engine.info.model == "b" and engine.info.score_threshold == 0.55
    assert engine.info.chosen is None  # it has no cats
    assert said == ["fake in onnxruntime"]


def test_model_that_does_not_load_leaves_the_old_one_running() -> None:
    engine, _, said = make(b=ModelError("b.onnx is empty"))
    engine.choose(model="b")
    settle(engine)
    assert said == ["b.onnx is empty"] and engine.info.model == "a" and len(engine.detect(PICTURE)) == 2


def test_next_runtime_goes_over_those_that_are_not_there() -> None:
    engine, asked, _ = make(litert=OptionError("cannot load it"), openvino=Runtime("openvino (cpu)"))
    engine.next_runtime()
    settle(engine)
    assert [runtime for _, runtime in asked] == [None, "litert", "openvino"]
    assert engine.info.runtime == "openvino (cpu)"


def test_no_other_runtime_is_said() -> None:
    engine, _, said = make(**{name: DependencyError("no") for name in ("litert", "openvino", "torch")})
    engine.next_runtime()
    settle(engine)
    assert said == ["no other runtime that is installed loads this model"]


def test_a_runtime_that_is_not_there_is_refused_before_anything_is_loaded() -> None:
    engine = Engine(lambda *_: Detector(Runtime("onnxruntime")), {"a": "a.onnx"}, "a", runtimes=lambda _: ("onnx",))
    with pytest.raises(OptionError, match="a does not run in openvino here: use onnx"):
        engine.choose(runtime="openvino")
    with pytest.raises(OptionError, match="no other runtime"):
        engine.next_runtime()
    assert not engine.changing
    engine.close()


@pytest.mark.parametrize(
    ("installed", "bundled", "onnx_file"),
    [
        (("onnxruntime",), ("onnx",), ("onnx",)),
        (("onnxruntime", "torch", "openvino"), ("onnx", "openvino"), ("onnx", "openvino")),
        (("onnxruntime", "tflite_runtime"), ("onnx", "litert"), ("onnx",)),
    ],
)
def test_runtimes_are_those_that_are_installed_and_take_the_file(
    installed: tuple[str, ...], bundled: tuple[str, ...], onnx_file: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "find_spec", lambda name: name if name in installed else None)
    assert runtimes_of(zoo.DEFAULT_MODEL) == bundled
    assert runtimes_of(str(zoo.bundled_models()[zoo.DEFAULT_MODEL])) == onnx_file
    assert runtimes_of("no-such-file.onnx") == ()


@pytest.mark.parametrize("wish", [{"model": "../etc/passwd"}, {"model": "b.onnx"}, {"runtime": "tensorrt"}])
def test_only_names_of_the_list_can_be_chosen(wish: dict[str, str]) -> None:
    engine, asked, _ = make()
    with pytest.raises(OptionError):
        engine.choose(**wish)
    assert len(asked) == 1


def test_frames_go_on_while_another_model_loads() -> None:
    gate = threading.Event()

    def load(model: str, runtime: str | None) -> Detector:
        if model == "b.onnx":
            gate.wait(5)
        return Detector(Runtime("onnxruntime"))

    engine = Engine(load, {"a": "a.onnx", "b": "b.onnx"}, "a", say=lambda _: None)
    engine.next_model()
    assert engine.changing
    begun = time.monotonic()
    for _ in range(5):
        engine.detect(PICTURE)
    assert time.monotonic() - begun < 1 and engine.info.model == "a"
    with pytest.raises(OptionError, match="wait for it"):
        engine.next_model()
    gate.set()
    settle(engine)
    assert engine.info.model == "b"


def test_choices_are_the_bundled_models_the_folder_and_the_one_that_runs(tmp_path: Path) -> None:
    for name in ("one.onnx", "two.tflite", "notes.txt", "three.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    found, first = choices(None, None)
    assert first == zoo.DEFAULT_MODEL and set(found) == set(zoo.bundled_models())
    found, first = choices(str(tmp_path / "one.onnx"), tmp_path)
    assert first == "one.onnx" and {"one.onnx", "two.tflite", "three.safetensors"} < set(found)
    assert "notes.txt" not in found
    with pytest.raises(InputError, match="no such folder"):
        choices(None, tmp_path / "no")


# control


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(make()[0], threading.Event(), snapshots=tmp_path)


def test_keys(control: Control, tmp_path: Path) -> None:
    control.key(-1)
    control.key(ord("x"))
    assert control.notice is None
    control.key(ord("+"))
    assert control.engine.info.score_threshold == pytest.approx(0.35) and control.notice == "score threshold 0.35"
    for _ in range(30):
        control.key(ord("-"))
    assert control.engine.info.score_threshold == 0.01
    control.key(ord(" "))
    assert control.paused
    control.key(ord("h"))
    assert control.help
    control.key(ord("s"))
    assert control.notice == "there is no picture yet"
    control.show(PICTURE)
    control.key(ord("s"))
    (snapshot,) = tmp_path.glob("edgessd-*.jpg")
    assert control.notice == f"wrote {snapshot}"
    control.key(ord("m"))
    settle(control.engine)
    assert control.engine.info.model == "b" and not control.stop.is_set()
    control.key(ord("q"))
    assert control.stop.is_set()


def test_notice_goes_by_itself(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    control.say("hello")
    assert control.notice == "hello"
    later = time.monotonic() + 5
    monkeypatch.setattr(control_module.time, "monotonic", lambda: later)
    assert control.notice is None


def test_benchmark_pauses_and_goes_on() -> None:
    started: list[Any] = []
    control = Control(make()[0], threading.Event(), benchmark=lambda model, ended: started.append((model, ended)))
    control.key(ord("b"))
    assert control.paused and started[0][0] == "a.onnx"
    control.key(ord("b"))
    assert control.notice == "the benchmark runs already" and len(started) == 1
    started[0][1]("it has ended")
    assert not control.paused and control.notice == "it has ended"
