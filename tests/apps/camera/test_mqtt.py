import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edgessd.apps.camera import home_output, mqtt_address
from edgessd.apps.camera.home_assistant import Topics, discovery
from edgessd.apps.camera.home_output import HomeAssistantOutput
from edgessd.apps.camera.jpeg import decode_jpeg
from edgessd.apps.camera.mqtt import MqttLink
from edgessd.apps.camera.mqtt_address import MqttAddress, own_topic, topic_level
from edgessd.apps.camera.presence import Presence
from edgessd.cli.app import app
from edgessd.errors import OptionError

PERSON = ("person", 0.9, (10, 20, 30, 60))
DOG = ("dog", 0.7, (50, 50, 80, 80))


# addresses and topics


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://host/home/door", ("host", 1883, False, None, None, "home/door")),
        ("mqtts://host/a", ("host", 8883, True, None, None, "a")),
        ("mqtt://you:p%40%2Fss@[::1]:99/a%20b/", ("::1", 99, False, "you", "p@/ss", "a b")),
    ],
)
def test_address(url: str, expected: tuple[Any, ...]) -> None:
    found = MqttAddress.parse(url)
    assert (found.host, found.port, found.secure, found.user, found.password, found.topic) == expected
    assert "p@/" not in repr(found) and "you" not in found.shown and "p@" not in found.shown


@pytest.mark.parametrize(
    "url",
    [
        *("", "host", "mqtt:///topic", "http://me:s3cret@host/topic", "mqtt://host/a/%23", "mqtt://host/a+b/c"),
        *("mqtt://host:99999/a", "mqtt://host:port/a", "mqtt://[::1/a", "mqtt://host/$SYS/a", "mqtt://host/a%00"),
        *("mqtt://me:s3cret/x@host/a", "mqtt://me:s3@cret@host/+", "mqtt://host/a?b=s3cret@c"),
    ],
)
def test_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(OptionError, match=r"^--mqtt .*[:;] give mqtt://") as caught:
        MqttAddress.parse(url)
    assert "s3" not in str(caught.value) and "cret" not in str(caught.value)


def test_password_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("from file\n")
    assert MqttAddress.parse("mqtt://me@host/a", password_file=file).password == "from file"
    monkeypatch.setenv("EDGESSD_MQTT_PASSWORD", "from environment")
    assert MqttAddress.parse("mqtt://me@host/a").password == "from environment"
    assert MqttAddress.parse("mqtt://me:own@host/a").password == "own"
    assert MqttAddress.parse("mqtt://me:own@host/a", password_file=file).password == "from file"
    with pytest.raises(OptionError, match="a password needs a user: mqtt://USER@host"):
        MqttAddress.parse("mqtt://host/a")
    with pytest.raises(OptionError, match=r"--mqtt-password-file .*: cannot be read: No such file"):
        MqttAddress.parse("mqtt://me@host/a", password_file=tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (["--home-assistant"], "--home-assistant needs --mqtt"),
        (["--mqtt-password-file", "x"], "--mqtt-password-file belongs to --mqtt"),
        (["--webhook-token-file", "x"], "--webhook-token-file belongs to --webhook"),
        (["--web-token-file", "x"], "--web-token-file belongs to --web"),
        (["--source-password-file", "x"], "--source-password-file belongs to a --source that is an address"),
        (["--mqtt", "mqtt://host/a", "--discovery-prefix", "a/#"], "--discovery-prefix a/#: no topic"),
        (["--mqtt", "mqtt://host/a"], "--mqtt needs --on-detect CLASS"),
    ],
)
def test_options_that_do_not_go_together(line: list[str], part: str) -> None:
    result = CliRunner().invoke(app, ["camera", *line])
    assert isinstance(result.exception, OptionError) and part in str(result.exception)


def test_own_topics_differ_by_machine_and_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def on(machine: str, source: str) -> str:
        (tmp_path / "id").write_text(machine)
        monkeypatch.setattr(mqtt_address, "Path", lambda _: tmp_path / "id")
        monkeypatch.setattr(mqtt_address.socket, "gethostname", lambda: "Raspberry.local")
        return own_topic(source)

    first = on("one", "0")
    assert re.fullmatch(r"edgessd/raspberry_local-0-[0-9a-f]{6}", first) and first == on("one", "0")
    assert len({first, on("two", "0"), on("one", "1"), on("one", "/dev/video0")}) == 4
    assert on("one", "rtsp://me:old@cam/1") == on("one", "rtsp://me:new@cam/1")
    assert "old" not in on("one", "rtsp://me:old@cam/1")


@pytest.mark.parametrize("name", ["person", "traffic light", "tv2"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert topic_level(name) == name.replace(" ", "_")


def test_odd_names_are_safe_and_differ() -> None:
    names = [
        "a/b",
        "a+b",
        "a#b",
        "a b",
        "a_b",
        "a-b",
        "A B",
        " a b",
        "a  b",
        "é",
        "Ж",
        "犬",
        "/",
        "#",
        "a\tb",
        "",
        "$a",
    ]
    levels = [topic_level(name) for name in names]
    assert len(set(levels)) == len(names) and all(re.fullmatch(r"[a-z0-9_-]+", level) for level in levels)


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_two_names_share_a_level(first: str, second: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]{1,80}", topic_level(first))
    assert first == second or topic_level(first) != topic_level(second)


# Home Assistant's contract, as its documentation of MQTT discovery and of the three entities has it


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def topic(value: Any) -> bool:
    return text(value) and not {"#", "+", "\0"} & set(value) and len(value.encode()) <= 65535


def device(value: Any) -> bool:
    known = {"identifiers", "connections", "name", "manufacturer", "model", "model_id", "sw_version", "hw_version"}
    return bool(set(value) <= known and value["identifiers"] and all(map(text, value["identifiers"])))


def origin(value: Any) -> bool:
    return set(value) <= {"name", "sw_version", "support_url"} and text(value["name"])


def availability(value: Any) -> bool:
    known = {"topic", "payload_available", "payload_not_available", "value_template"}
    return all(set(each) <= known and topic(each["topic"]) for each in value) and len(value) > 0


Check = Callable[[Any], bool]
COMMON: dict[str, Check] = {
    "availability": availability,
    "device": device,
    "origin": origin,
    "name": text,
    "unique_id": text,
    "icon": lambda value: value.startswith("mdi:"),
    "json_attributes_topic": topic,
    "qos": lambda value: value in (0, 1, 2),
}
CONTRACT: dict[str, dict[str, Check]] = {
    "binary_sensor": {
        **COMMON,
        "state_topic": topic,
        "payload_on": text,
        "payload_off": text,
        "device_class": lambda value: value in ("occupancy", "motion", "presence"),
    },
    "sensor": {
        **COMMON,
        "state_topic": topic,
        "state_class": lambda value: value in ("measurement", "total", "total_increasing"),
    },
    "image": {**COMMON, "image_topic": topic, "content_type": lambda value: value == "image/jpeg"},
}
REQUIRED = {"binary_sensor": "state_topic", "sensor": "state_topic", "image": "image_topic"}
NAMES = ["person", "traffic light", "a/b", "a+b", "#", "Ж 犬", "count"]


@pytest.mark.parametrize("base", ["home/door", "edgessd/pi-0-12ab34", "Garten/Tür 2"])
def test_messages_hold_against_the_documented_contract(base: str) -> None:
    messages = discovery(Topics(base), NAMES, model="edgessd-coco")
    assert len(messages) == len(NAMES) + 2
    for where, content in messages.items():
        match = re.fullmatch(r"homeassistant/(\w+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config", where)
        assert match is not None, where
        contract = CONTRACT[match[1]]
        for key, value in content.items():
            assert contract[key](value), (where, key, value)
        # Without these an entity belongs to no device, cannot be renamed, or hears nothing.
        assert {"unique_id", "device", "origin", "availability", REQUIRED[match[1]]} <= set(content)
        assert json.loads(json.dumps(content)) == content
    for key in ("unique_id", "state_topic", "image_topic"):
        values = [content[key] for content in messages.values() if key in content]
        assert len(set(values)) == len(values)
    assert len({json.dumps(content["device"]) for content in messages.values()}) == 1


def test_identifiers_stay_and_those_of_two_cameras_differ() -> None:
    def ids(base: str, classes: list[str], model: str) -> set[str]:
        return {each["unique_id"] for each in discovery(Topics(base), classes, model=model).values()}

    assert ids("home/door", ["person"], "a") == {
        "edgessd_home_door-aba26fd0_class_person",  # golden: they are in people's automations
        "edgessd_home_door-aba26fd0_count",
        "edgessd_home_door-aba26fd0_picture",
    }
    assert ids("home/door", ["person"], "a") < ids("home/door", ["dog", "person"], "b")
    assert not ids("home/door", ["person"], "a") & ids("home_door", ["person"], "a")


# who is there


def test_presence_is_steady(make_result: Any) -> None:
    presence = Presence(["person", "dog"], hold=0.5)
    frames = {0: [PERSON], 1: [PERSON, PERSON], 4: [PERSON], 12: [DOG]}
    there, appeared = [], []
    for index in range(14):
        appeared += [(index, name) for name in presence.look(make_result(index, frames.get(index, [])))]
        there.append("".join(name[0] for name, is_there in presence.present.items() if is_there))
        if index == 1:
            assert presence.counts == {"person": 2, "dog": 0}
    assert there == ["p"] * 9 + [""] * 3 + ["d"] * 2 and appeared == [(0, "person"), (12, "dog")]


@pytest.mark.parametrize("shift", [-3600.0, 3600.0])
def test_clock_that_is_set_changes_nothing(make_result: Any, shift: float) -> None:
    presence = Presence(["person"], hold=10)
    presence.look(make_result(0, [PERSON], time=20.0, wall=1e9))
    assert presence.look(make_result(1, [PERSON], time=29.0, wall=1e9 + shift)) == []
    presence.look(make_result(2, [], time=38.0, wall=1e9 + shift))
    assert presence.present["person"]
    presence.look(make_result(3, [], time=39.1, wall=1e9))
    assert not presence.present["person"]


# the output


class Link:
    """What stands at a broker that is always there."""

    def __init__(self) -> None:
        self.address = MqttAddress.parse("mqtt://host/home/door")
        self.kept: dict[str, Any] = {}
        self.said: list[tuple[str, Any]] = []
        self.handlers: dict[str, Any] = {}
        self.told: list[Any] = []
        self.repeated: list[Any] = []
        self.reports: list[str] = []
        self.will: Any = None

    def keep(self, topic: str, value: Any) -> None:
        if self.kept.get(topic) != value:
            self.said.append((topic, value))
        self.kept[topic] = value

    def listen(self, topics: str, handler: Any) -> None:
        self.handlers[topics] = handler

    def greet(self, topic: str, value: str) -> None:
        self.run = value

    def last_will(self, *will: str) -> None:
        self.will = will

    def tell(self, *what: Any, retain: bool = False) -> None:
        self.told.append((*what, retain))

    def report(self, text: str) -> None:
        self.reports.append(text)

    def again(self, topic: str | None = None) -> None:
        self.repeated.append(topic)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Any:
    link, capture = Link(), SimpleNamespace(trouble=None)
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=100.0)
    monkeypatch.setattr(home_output, "time", clock)
    output = HomeAssistantOutput(link, ["person", "dog"], capture, hold=0.5, model=lambda: "ssd")  # type: ignore[arg-type]
    yield SimpleNamespace(link=link, capture=capture, clock=clock, output=output)
    output.close()


def show(home: Any, result: Any) -> None:
    home.output.add(result, result.frame.image)


def test_nothing_is_claimed_before_the_first_frame(home: Any, make_result: Any) -> None:
    configs = {topic for topic in home.link.kept if topic.endswith("/config")}
    assert len(configs) == 4 and set(home.link.kept) - configs == {"home/door/availability"}
    assert home.link.kept["home/door/availability"] == "offline"
    assert home.link.will == ("home/door/availability", "offline")
    show(home, make_result(0))
    states = {topic: value for topic, value in home.link.kept.items() if topic not in configs}
    assert states == {
        "home/door/availability": "online",
        "home/door/class/person": "OFF",
        "home/door/class/dog": "OFF",
        "home/door/count": "0",
        "home/door/counts": '{"person": 0, "dog": 0}',
    }
    assert home.link.said[-1] == ("home/door/availability", "online")  # behind what it makes visible


def test_states_change_with_what_is_seen(home: Any, make_result: Any) -> None:
    frames: list[list[Any]] = [[], [PERSON], [PERSON, PERSON], [], [], [], [], [], [], []]
    for index, objects in enumerate(frames):
        home.clock.now += 0.1
        show(home, make_result(index, objects))
    said = [value for topic, value in home.link.said if topic == "home/door/class/person"]
    assert said == ["OFF", "ON", "OFF"]
    assert [value for topic, value in home.link.said if topic == "home/door/count"] == ["0"]  # not each frame
    home.clock.now += 1
    show(home, make_result(20, [PERSON, DOG]))
    assert home.link.kept["home/door/count"] == "2"


def test_picture_comes_with_boxes_and_not_too_often(home: Any, make_result: Any) -> None:
    pictures = []
    for index in range(30):
        home.clock.now += 1.0
        show(home, make_result(index, [PERSON]))
        home.output._worker._channel.wait_until_taken(5)
        pictures = [value for topic, value in home.link.said if topic == "home/door/picture"]
    home.output.close()
    pictures = [value for topic, value in home.link.said if topic == "home/door/picture"]
    assert 1 <= len(pictures) <= 3
    picture = decode_jpeg(pictures[0])
    assert picture.shape == (100, 100, 3) and np.ptp(picture) > 100  # the frame itself is of one colour


def test_frame_stays_as_it_is_for_the_others(home: Any, make_result: Any) -> None:
    result = make_result(0, [PERSON])
    show(home, result)
    home.output._worker.close()
    assert (result.frame.image == 90).all() and "home/door/picture" in home.link.kept


def test_lost_source_and_the_end_are_offline(home: Any, make_result: Any) -> None:
    show(home, make_result(0))
    home.output.idle(None)
    assert home.link.kept["home/door/availability"] == "online"
    home.capture.trouble = "source lost"
    home.output.idle(None)
    assert home.link.kept["home/door/availability"] == "offline"
    home.capture.trouble = None
    show(home, make_result(1))
    assert home.link.kept["home/door/availability"] == "online"
    home.output.close()
    assert home.link.kept["home/door/availability"] == "offline"


def test_birth_of_home_assistant_brings_everything_again(home: Any) -> None:
    home.link.handlers["homeassistant/status"]("homeassistant/status", b"offline", False)
    assert home.link.repeated == []
    home.link.handlers["homeassistant/status"]("homeassistant/status", b"online", False)
    assert home.link.repeated == [None]


def test_late_will_of_an_old_connection_is_corrected_and_two_programs_do_not_fight(home: Any, make_result: Any) -> None:
    hear = home.link.handlers["home/door/availability"]
    hear("home/door/availability", b"online", False)  # not ours: we are offline, and keep quiet
    show(home, make_result(0))
    hear("home/door/availability", b"online", False)
    assert home.link.repeated == []
    hear("home/door/availability", b"offline", False)
    assert home.link.repeated == ["home/door/availability"]


def test_other_program_of_the_same_topic_is_reported_once(home: Any) -> None:
    hear = home.link.handlers["home/door/run"]
    for other in (home.link.run.encode(), b"other", b"other", b"\xff\xfe"):
        hear("home/door/run", other, False)
    assert len(home.link.reports) == 2 and "another program publishes to this topic" in home.link.reports[0]
    assert home.link.told == [("home/door/run", home.link.run, False)] * 2


def test_class_that_is_watched_no_more_goes(home: Any) -> None:
    (pattern,) = [each for each in home.link.handlers if each.endswith("/+/config")]
    hear, own = home.link.handlers[pattern], pattern.replace("+", "person")
    for topic, payload, retained in ((own, b"{}", True), (pattern.replace("+", "cat"), b"{}", False), (own, b"", True)):
        hear(topic, payload, retained)
    assert home.link.told == []
    hear(pattern.replace("+", "cat"), b"{}", True)
    assert home.link.told == [(pattern.replace("+", "cat"), "", True), ("home/door/class/cat", "", True)]


@pytest.mark.slow
def test_messages_hold_against_home_assistants_own_schemas(tmp_path: Path) -> None:
    """In an environment of its own, or in that of $EDGESSD_HOME_ASSISTANT_PYTHON."""
    python = os.environ.get("EDGESSD_HOME_ASSISTANT_PYTHON", "")
    if not python:
        python = str(tmp_path / "venv" / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
        for package in ("homeassistant", "paho-mqtt<2"):
            line = [python, "-m", "pip", "install", "--quiet", package]
            if subprocess.run(line, capture_output=True, check=False).returncode:
                pytest.skip(f"needs {package} from pip's index")
    messages: dict[str, Any] = {}
    for base in ("home/door", "Garten/Tür 2"):
        messages |= discovery(Topics(base), NAMES, model="edgessd-coco")
    (tmp_path / "messages.json").write_text(json.dumps(messages))
    script = Path(__file__).resolve().parents[2] / "foreign" / "check_home_assistant.py"
    done = subprocess.run([python, script, tmp_path / "messages.json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr
    assert done.stdout.startswith("18 messages, 0 refused by Home Assistant ")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("Not authorized", "the broker refused: not authorised: check user and password (EDGESSD_MQTT_PASSWORD)"),
        ("Bad user name or password", "the broker refused: wrong user or password: check user and password"),
        ("Unsupported protocol version", "the broker refused: it does not speak MQTT 3.1.1"),
        ("Server unavailable", "the broker refused: it is not ready"),
        ("Quota exceeded", "the broker refused: quota exceeded"),
    ],
)
def test_refusals_are_said_in_words(code: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("paho.mqtt")
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    link = MqttLink(MqttAddress.parse("mqtt://me:s3cret@cam/a"))
    for _ in range(2):  # told once
        link._connected(None, None, None, ReasonCode(PacketTypes.CONNACK, code))
    err = capfd.readouterr().err
    assert err.count("mqtt://cam:1883/a: ") == 1 and said in err and "s3cret" not in err and not link.up
