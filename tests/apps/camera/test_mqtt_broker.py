"""Home Assistant's side with a real broker between: what stands there when either of them goes away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgessd.apps.camera import mqtt
from edgessd.apps.camera.home_output import HomeAssistantOutput
from edgessd.apps.camera.mqtt import EVENTS, MqttLink
from edgessd.apps.camera.mqtt_address import MqttAddress

pytest.importorskip("paho.mqtt")
_SPEC = spec_from_file_location("broker", Path(__file__).parent / "broker.py")
assert _SPEC is not None and _SPEC.loader is not None
broker_module: Any = module_from_spec(_SPEC)
_SPEC.loader.exec_module(broker_module)
Mosquitto, Ear, until = broker_module.Mosquitto, broker_module.Ear, broker_module.until

ROOT = Path(__file__).resolve().parents[3]
PERSON = ("person", 0.9, (10, 20, 30, 60))
DOG = ("dog", 0.7, (50, 50, 80, 80))
STATES = {"home/door/availability", "home/door/class/person", "home/door/class/dog", "home/door/count"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Any]:
    made = Mosquitto(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def camera() -> Iterator[Any]:
    """A function that makes a camera's link and output, connected to a broker or to where it will be."""
    made = []

    def make(broker: Any, topic: str = "home/door", classes: Any = ("person", "dog"), user: str = "") -> Any:
        link = MqttLink(MqttAddress.parse(f"mqtt://{user}127.0.0.1:{broker.port}/{topic}"))
        link._client.reconnect_delay_set(0.1, 0.2)
        capture: Any = SimpleNamespace(trouble=None)
        output = HomeAssistantOutput(link, classes, capture, hold=1.0, model=lambda: "ssd")
        made.append(SimpleNamespace(link=link, output=output))
        link.start()
        return made[-1]

    yield make
    for each in made:
        each.output.close()
        each.link.close()


@pytest.fixture
def listen() -> Iterator[Any]:
    made: list[Any] = []

    def make(broker: Any) -> Any:
        made.append(Ear(broker.port))
        return made[-1]

    yield make
    for each in made:
        each.close()


def show(camera: Any, result: Any) -> None:
    camera.output.add(result, result.frame.image)


def test_who_comes_later_finds_everything(broker: Any, camera: Any, listen: Any, make_result: Any) -> None:
    broker.start()
    one = camera(broker)
    until(lambda: one.link.up)
    show(one, make_result(0, [PERSON, PERSON]))
    first = listen(broker)
    until(lambda: "home/door/picture" in first.state)
    late = listen(broker)
    until(lambda: len(late.state) >= 10)
    assert all(retained for _, _, retained in late.heard)
    assert late.state["home/door/availability"] == b"online" and late.state["home/door/count"] == b"2"
    assert late.state["home/door/class/person"] == b"ON" and late.state["home/door/class/dog"] == b"OFF"
    assert json.loads(late.state["home/door/counts"]) == {"person": 2, "dog": 0}
    assert late.state["home/door/picture"].startswith(b"\xff\xd8")
    one.output.close()
    until(lambda: late.says("home/door/availability", "offline"))


def test_broker_that_dies_and_forgets_loses_nothing(
    broker: Any, camera: Any, listen: Any, make_result: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    broker.start()
    one, ear = camera(broker), listen(broker)
    show(one, make_result(0, [PERSON]))
    until(lambda: "home/door/picture" in ear.state and ear.says("home/door/availability", "online"))
    before = {topic: payload for topic, payload in ear.state.items() if topic != "home/door/run"}
    broker.kill()
    until(lambda: not one.link.up)
    show(one, make_result(30, [DOG]))  # meanwhile the person went and a dog came
    for number in range(EVENTS):
        one.link.send("home/door", str(number))
    broker.start()
    ear = listen(broker)
    until(lambda: ear.says("home/door", str(EVENTS - 1)) and ear.says("home/door/class/dog", "ON"))
    until(lambda: len(ear.state) >= len(before) + 1)
    after = ear.state
    assert set(before) <= set(after) and after["home/door/class/person"] == b"OFF"
    assert {topic for topic in before if before[topic] != after[topic]} <= {
        *("home/door/class/person", "home/door/class/dog", "home/door/picture", "home/door/counts"),
    }
    events = [int(payload) for topic, payload, _ in ear.heard if topic == "home/door"]
    assert sorted(set(events)) == list(range(EVENTS))
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "the broker is away; going on and trying again",
        "the broker is back",
    ]


def test_broker_that_is_away_at_the_start(broker: Any, camera: Any, listen: Any, make_result: Any) -> None:
    one = camera(broker)
    for index in range(200):  # would take minutes if anything waited
        show(one, make_result(index, [PERSON] if index % 20 < 10 else []))
    assert not one.link.up
    broker.start()
    ear = listen(broker)
    until(lambda: set(ear.state) >= {*STATES, "home/door/picture"})
    until(lambda: ear.says("home/door/availability", "online"))
    assert sum(topic.endswith("/config") for topic in ear.state) == 4


def test_broker_that_hangs_holds_nobody_up(
    broker: Any, camera: Any, listen: Any, make_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.start()
    one = camera(broker)
    until(lambda: one.link.up)
    broker.process.send_signal(signal.SIGSTOP)
    large = os.urandom(1_000_000)
    for index in range(300):  # hundreds of megabytes, if each value waited for the broker
        one.link.keep("home/door/picture", large + str(index).encode())
        one.link.keep("home/door/count", str(index))
    assert len(one.link._client._out_packet) < 20
    broker.process.send_signal(signal.SIGCONT)
    ear = listen(broker)
    until(lambda: ear.says("home/door/count", "299") and ear.says("home/door/picture", large + b"299"))
    broker.process.send_signal(signal.SIGSTOP)
    one.link.send("home/door", "last")
    monkeypatch.setattr(mqtt, "_GOODBYE", 0.1)
    one.link.close()  # does not wait until the connection breaks either


def test_closed_stderr_does_not_end_the_connection(
    broker: Any, camera: Any, listen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = camera(broker)
    with (tmp_path / "closed").open("w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    until(lambda: bool(one.link._problem))  # it has tried, and has told nobody
    one.link.keep("home/door/count", "1")
    broker.start()
    ear = listen(broker)
    until(lambda: ear.says("home/door/count", "1"))


def test_birth_of_home_assistant_is_answered(broker: Any, camera: Any, listen: Any, make_result: Any) -> None:
    broker.start()
    one = camera(broker)
    show(one, make_result(0, [PERSON]))
    ear = listen(broker)
    until(lambda: set(ear.state) >= STATES)
    until(lambda: ear.says("home/door/availability", "online"))
    count = len(ear.heard)
    ear.client.publish("homeassistant/status", "online")
    until(lambda: {topic for topic, _, _ in ear.heard[count:]} >= STATES)
    until(lambda: sum(topic.endswith("/config") for topic, _, _ in ear.heard[count:]) == 4)


def test_will_that_comes_late_does_not_stay(broker: Any, camera: Any, listen: Any, make_result: Any) -> None:
    broker.start()
    one, ear = camera(broker), listen(broker)
    show(one, make_result(0))
    until(lambda: ear.says("home/door/availability", "online"))
    ear.client.publish("home/door/availability", "offline", qos=1, retain=True)
    until(lambda: [payload for topic, payload, _ in ear.heard if topic == "home/door/availability"][-2:] == [
        b"offline", b"online"])  # fmt: skip


def test_two_cameras_of_one_broker(broker: Any, camera: Any, listen: Any, make_result: Any, capfd: Any) -> None:
    broker.start()
    ear = listen(broker)
    door, garden = camera(broker), camera(broker, "home/garden")
    show(door, make_result(0, [PERSON]))
    show(garden, make_result(0, [DOG]))
    until(lambda: ear.says("home/garden/class/dog", "ON") and ear.says("home/door/class/person", "ON"))
    until(lambda: sum(topic.endswith("/config") for topic in ear.state) == 8)
    ids = [json.loads(payload)["unique_id"] for topic, payload in ear.state.items() if topic.endswith("/config")]
    assert len(set(ids)) == 8 and ear.says("home/garden/class/person", "OFF")
    assert "another program" not in capfd.readouterr().err
    camera(broker)  # the same topic again: both say so
    said: list[str] = []
    until(lambda: bool(said.append(capfd.readouterr().err)) or "".join(said).count("another program") == 2)


def test_class_of_an_earlier_run_goes_from_home_assistant(
    broker: Any, camera: Any, listen: Any, make_result: Any
) -> None:
    broker.start()
    odd = "a/b+#"
    first = camera(broker, classes=["person", odd])
    show(first, make_result(0, [PERSON]))
    ear = listen(broker)
    until(lambda: sum(topic.endswith("/config") for topic in ear.state) == 4)
    first.output.close()
    first.link.close()
    second = camera(broker, classes=["person"])
    show(second, make_result(0, [PERSON]))
    (config,) = [topic for topic in ear.state if "a_b-" in topic and topic.endswith("/config")]
    until(lambda: ear.says(config, b""))
    late = listen(broker)
    until(lambda: late.says("home/door/class/person", "ON"))
    assert not [topic for topic in late.state if "a_b-" in topic]


def test_wrong_password_is_said_without_it(
    tmp_path: Path, camera: Any, make_result: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = Mosquitto(tmp_path, password="right")
    broker.start()
    try:
        wrong, right = camera(broker, user="me:wrong-s3cret@"), camera(broker, "other", user="me:right@")
        until(lambda: right.link.up and bool(wrong.link._problem))
        show(wrong, make_result(0, [PERSON]))
        said = capfd.readouterr().err
        assert "/home/door: the broker refused: not authorised: check user and password (EDGESSD_MQTT_PASS" in said
        assert "s3cret" not in said and "me:" not in said and not wrong.link.up
    finally:
        broker.kill()


@pytest.mark.slow
def test_camera_that_is_killed_is_unavailable_and_comes_back(broker: Any, listen: Any, tmp_path: Path) -> None:
    broker.start()
    ear = listen(broker)
    command = [sys.executable, "-m", "edgessd.apps.camera", "--source", "demo", "--loop", "--no-window"]
    command += ["--max-fps", "5", "--on-detect", "person,traffic light", "--home-assistant", "--runtime", "onnx"]
    command += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start() -> Any:
        return subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)

    def topic() -> str:
        return next((each for each in ear.state if each.endswith("/availability")), "none")

    process = start()
    try:
        until(lambda: ear.says(topic(), "online"), seconds=60)
        base = topic().removesuffix("/availability")
        until(lambda: ear.says(f"{base}/class/person", "ON") and f"{base}/picture" in ear.state, seconds=60)
        configs = {each: payload for each, payload in ear.state.items() if each.endswith("/config")}
        assert len(configs) == 4
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: ear.says(topic(), "offline"))
        process = start()
        until(lambda: ear.says(topic(), "online"), seconds=60)
        assert {each: payload for each, payload in ear.state.items() if each.endswith("/config")} == configs
        assert sum(each.endswith("/availability") for each in ear.state) == 1  # the topic is the same again
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        until(lambda: ear.says(topic(), "offline"))
    finally:
        process.kill()
        process.wait()
