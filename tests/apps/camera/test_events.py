import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera import actions
from edgessd.apps.camera.actions import Command, Mqtt, Webhook
from edgessd.apps.camera.clips import ClipOutput
from edgessd.apps.camera.events import EventOutput, Watch
from edgessd.apps.camera.mqtt import EVENTS, MqttLink
from edgessd.apps.camera.mqtt_address import MqttAddress
from edgessd.errors import DependencyError, InputError, OptionError
from edgessd.io.video import VideoFile

PERSON = ("person", 0.9, (10.04, 20, 30, 60))
DOG = ("dog", 0.7, (50, 50, 80, 80))
EVENT = {"name": "dog", "score": 0.7, "count": 2, "time": 1.5}


# what is an event


def look(make_result: Any, frames: dict[int, list[Any]], *, cooldown: float = 1.0) -> list[Any]:
    watch = Watch(["person", "dog"], cooldown=cooldown, source="clip.mp4")
    found = []
    for index in range(max(frames) + 1):
        for event in watch.look(make_result(index, frames.get(index, [])), "model"):
            found.append((event.frame, event.name))
    return found


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ({5: []}, []),
        ({2: [PERSON]}, [(2, "person")]),
        ({n: [PERSON] for n in range(40)}, [(0, "person")]),  # it stays: one event, though longer than the cooldown
        ({0: [PERSON], 5: [PERSON], 14: [PERSON]}, [(0, "person")]),  # flickering is no new event
        ({0: [PERSON], 11: [PERSON]}, [(0, "person"), (11, "person")]),
        ({3: [PERSON, DOG]}, [(3, "person"), (3, "dog")]),
        ({0: [PERSON], 4: [DOG]}, [(0, "person"), (4, "dog")]),
        ({1: [("car", 0.9, (0, 0, 9, 9))]}, []),
    ],
)
def test_an_event_is_a_class_that_was_not_there_for_a_while(make_result: Any, frames: Any, expected: Any) -> None:
    assert look(make_result, frames) == expected


def test_what_an_event_says(make_result: Any) -> None:
    watch = Watch(["person"], cooldown=1, source="clip.mp4")
    (event,) = watch.look(make_result(3, [PERSON, ("person", 0.5, (0, 0, 5, 5))]), "ssd")
    assert (event.name, event.count, event.frame, event.time) == ("person", 2, 3, 0.3)
    assert (event.score, event.box, event.source, event.model) == (0.9, (10.0, 20.0, 30.0, 60.0), "clip.mp4", "ssd")
    watch = Watch(["person"], cooldown=1, source="0")
    (event,) = watch.look(make_result(0, [PERSON], wall=1_700_000_000.25), "ssd")
    assert event.time == "2023-11-14T22:13:20.250+00:00"


def test_clock_that_is_set_makes_no_event_and_hides_none(make_result: Any) -> None:
    watch = Watch(["person"], cooldown=5.0, source="0")
    walls = {0: 1.7e9, 2: 1.7e9 - 3600, 4: 1.7e9 + 3600, 10: 1.7e9 - 7200}
    found = [len(watch.look(make_result(0, [PERSON], time=time, wall=wall), "ssd")) for time, wall in walls.items()]
    assert found == [1, 0, 0, 1]


class Recording:
    name = "test"

    def __init__(self, pause: float = 0.0, error: Exception | None = None) -> None:
        self.events: list[Any] = []
        self.pause, self.error, self.closed = pause, error, False

    def act(self, event: dict[str, Any]) -> None:
        time.sleep(self.pause)
        if self.error is not None:
            raise self.error
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


def event_output(*all_actions: Any, triggers: Any = ()) -> EventOutput:
    watch = Watch(["person"], cooldown=0.0, source="x")
    return EventOutput(watch, all_actions, model=lambda: "ssd", triggers=triggers)


def test_slow_action_loses_events_and_never_frames(make_result: Any) -> None:
    slow, quick = Recording(pause=0.05), Recording()
    quick.name = "quick"
    output = event_output(slow, quick)
    begun = time.monotonic()
    for index in range(100):
        output.add(make_result(index, [PERSON]), None)  # type: ignore[arg-type]
    assert time.monotonic() - begun < 2.5  # one after the other it would be five seconds
    output.close()
    assert output.summary()["events"] == 100
    assert 20 < len(slow.events) < 90 and output.summary()["lost"]["test"] > 10
    assert slow.events[-1]["frame"] == 99 and slow.closed


def test_failing_action_is_reported_a_few_times_and_the_others_go_on(
    make_result: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, good = Recording(error=InputError("no route")), Recording()
    good.name = "good"
    output = event_output(broken, good)
    for index in range(20):
        output.add(make_result(index, [PERSON]), None)  # type: ignore[arg-type]
        time.sleep(0.002)
    output.close()
    assert len(good.events) == 20 and output.summary()["failed"] == {"test": 20}
    assert capfd.readouterr().err.count("test failed") == 3


# actions


@pytest.fixture
def receiver() -> Any:
    """A web server that notes what it gets; `answers` are the codes of the next requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.logins.append(self.headers["Authorization"])
            server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(server.answers.pop(0) if server.answers else 204)
            self.send_header("Location", server.location)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.logins, server.answers, server.location = [], [], [], "/moved"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_PAUSES", (0.01, 0.02))


def test_webhook_posts_json(receiver: Any) -> None:
    Webhook(f"http://127.0.0.1:{receiver.server_port}/hook?key=1").act(EVENT)
    assert receiver.got == [("/hook?key=1", "application/json", EVENT)]


@pytest.mark.parametrize(
    ("answers", "tries", "text"), [([503, 204], 2, None), ([500, 500, 500], 3, "HTTP 500"), ([404], 1, "404")]
)
def test_webhook_tries_again_where_that_may_help(receiver: Any, answers: Any, tries: int, text: str | None) -> None:
    receiver.answers[:] = answers
    hook = Webhook(f"http://me:secret@127.0.0.1:{receiver.server_port}/hook")
    if text is None:
        hook.act(EVENT)
    else:
        with pytest.raises(InputError, match=text):
            hook.act(EVENT)
    assert len(receiver.got) == tries


def test_webhook_that_is_down_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:1: failed: the host refuses"):
        Webhook("http://127.0.0.1:1/x").act(EVENT)


@pytest.mark.parametrize(
    ("login", "options", "sent"),
    [
        ("", {}, None),
        ("me:s%23@", {}, "Basic bWU6cyM="),
        ("me@", {"password": "s#"}, "Basic bWU6cyM="),
        ("", {"token": "abc"}, "Bearer abc"),
    ],
)
def test_webhook_logs_in(
    receiver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str, options: dict[str, str], sent: str
) -> None:
    url = f"http://{login}127.0.0.1:{receiver.server_port}/hook"
    for name, secret in options.items():
        (tmp_path / name).write_text(f"{secret}\n")
    Webhook(url, **{name: tmp_path / name for name in options}).act(EVENT)
    for name, secret in options.items():
        monkeypatch.setenv(f"EDGESSD_WEBHOOK_{name.upper()}", secret)
    Webhook(url).act(EVENT)
    assert receiver.logins == [sent, sent]


def test_redirects_of_a_webhook(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """301 to 303 would lose the event (a GET is asked for); 307 and 308 take it along, elsewhere without login."""
    receiver.answers[:] = [301]
    monkeypatch.setenv("EDGESSD_WEBHOOK_TOKEN", "abc")
    hook = Webhook(f"http://127.0.0.1:{receiver.server_port}/hook")
    with pytest.raises(InputError, match="HTTP 301: it has moved"):
        hook.act(EVENT)
    receiver.answers[:], receiver.location = [308], f"http://localhost:{receiver.server_port}/new"
    hook.act(EVENT)
    assert [path for path, _, _ in receiver.got] == ["/hook", "/hook", "/new"]
    assert receiver.logins == ["Bearer abc", "Bearer abc", None]


def test_webhook_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(InputError, match="no answer"):
        Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/s3cret").act(EVENT)


@pytest.mark.parametrize(
    "url", ["", "example.org/s3cret", "ftp://example.org/s3cret", "file:///s3cret", "me:s3cret@host", "http:/h/s3cret"]
)
def test_webhook_takes_web_addresses_only(url: str) -> None:
    with pytest.raises(OptionError, match="http://") as caught:
        Webhook(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:s3cret@127.0.0.1:1/s3cret", "http://127.0.0.1:1/?x=s3cret"])
def test_messages_of_a_webhook_name_its_host_only(url: str) -> None:
    with pytest.raises(InputError) as failed:
        Webhook(url).act(EVENT)
    assert str(failed.value) == "http://127.0.0.1:1: failed: the host refuses the connection"
    for broken in (url.replace(":1/", ":99999/"), url.replace("127.0.0.1", "ho st"), url.replace("/s", "#s3cret@/s")):
        if broken != url:
            with pytest.raises(OptionError, match=r"^--webhook: ") as refused:
                Webhook(broken)
            assert "s3cret" not in "".join(traceback.format_exception(refused.value))


def test_command_gets_json_and_variables_and_no_shell(tmp_path: Path) -> None:
    script = (
        "import json, os, sys; json.dump([json.load(sys.stdin), os.environ['EDGESSD_NAME'], "
        "os.environ['EDGESSD_COUNT'], sys.argv[2:]], open(sys.argv[1], 'w'))"
    )
    target = tmp_path / "out.json"
    Command(f'{sys.executable} -c "{script}" {target} "; echo $HOME"').act(EVENT)
    assert json.loads(target.read_text()) == [EVENT, "dog", "2", ["; echo $HOME"]]


def test_command_that_fails_says_its_last_line() -> None:
    with pytest.raises(InputError, match="exit code 3 no disk"):
        Command(f"{sys.executable} -c \"import sys; print('no disk', file=sys.stderr); sys.exit(3)\"").act(EVENT)


def test_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Command, "timeout", 0.2)
    with pytest.raises(InputError, match=r"took longer than 0\.2 s"):
        Command(f'{sys.executable} -c "import time; time.sleep(30)"').act(EVENT)


@pytest.mark.parametrize("command", ["", "no-such-program-here --x", "echo 'open"])
def test_command_that_is_none(command: str) -> None:
    with pytest.raises(OptionError, match="--exec"):
        Command(command)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Broker:
    """As much of an MQTT 3.1.1 broker as a client needs that publishes with QoS 1."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got: list[tuple[str, Any]] = []
        self.login = b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        client, _ = self.listener.accept()
        stream = client.makefile("rb")
        with client, stream:
            while head := stream.read(1):
                length = shift = 0
                while True:
                    byte = stream.read(1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = stream.read(length)
                if head[0] >> 4 == 1:
                    self.login = body
                    client.sendall(b"\x20\x02\x00\x00")
                elif head[0] >> 4 == 3:
                    size = int.from_bytes(body[:2], "big")
                    topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
                    self.got.append((topic, json.loads(rest[2:])))
                    client.sendall(b"\x40\x02" + rest[:2])
                elif head[0] >> 4 == 14:
                    return


def test_mqtt_publishes_json() -> None:
    pytest.importorskip("paho.mqtt")
    broker = Broker()
    link = MqttLink(MqttAddress.parse(f"mqtt://me:se%23cret@127.0.0.1:{broker.port}/home/door"))
    action = Mqtt(link)
    link.start()
    action.act(EVENT)
    until(lambda: link.up)
    action.close()
    broker.thread.join(5)
    broker.listener.close()
    assert broker.got == [("home/door", EVENT)] and b"se#cret" in broker.login


def test_mqtt_broker_that_is_away_takes_so_many_events_and_no_time(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("paho.mqtt")
    link = MqttLink(MqttAddress.parse("mqtt://me:secret@127.0.0.1:1/x"))
    action = Mqtt(link)
    link.start()
    for _ in range(EVENTS):
        action.act(EVENT)
    with pytest.raises(InputError) as caught:
        action.act(EVENT)
    until(lambda: bool(link._problem))
    action.close()
    assert str(caught.value) == "mqtt://127.0.0.1:1/x: the broker is away, and 100 events wait already: one is lost"
    assert capfd.readouterr().err.splitlines() == [
        "mqtt://127.0.0.1:1/x: the broker is away (the host refuses the connection); going on and trying again",
        "mqtt://127.0.0.1:1/x: 100 events did not reach the broker",
    ]


def test_mqtt_without_its_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[mqtt\]'"):
        MqttLink(MqttAddress.parse("mqtt://host/topic"))


# clips


def record(folder: Path, make_result: Any, events: list[int], count: int = 100, **options: float) -> ClipOutput:
    """Frames of 10 a second; the picture's value is twice the frame's number."""
    clips = ClipOutput(folder, fps=10, live=False, **{"before": 1.0, "after": 2.0, **options})
    output = EventOutput(Watch(["person"], cooldown=0.0, source="x"), [], model=lambda: "ssd", triggers=[clips.trigger])
    for index in range(count):
        result = make_result(index, [PERSON] if index in events else [], value=2 * index, size=(64, 48))
        for each in (output, clips):
            each.add(result, result.frame.image)
    clips.close()
    return clips


def frames_of(path: Path) -> list[int]:
    with VideoFile(path) as video:
        return [round(float(np.mean(image)) / 2) for image, _ in video]


def test_clip_has_the_seconds_before_and_after(make_result: Any, tmp_path: Path) -> None:
    clips = record(tmp_path / "clips", make_result, [40])
    (path,) = clips.written
    found = frames_of(path)
    assert path.name.endswith("-000040-person.mp4") and len(found) == 31
    assert abs(found[0] - 30) <= 1 and abs(found[-1] - 60) <= 1 and found == sorted(found)
    assert list((tmp_path / "clips").iterdir()) == [path]


def test_event_at_the_beginning_and_one_at_the_end(make_result: Any, tmp_path: Path) -> None:
    clips = record(tmp_path, make_result, [0, 98])
    first, last = (frames_of(path) for path in clips.written)
    assert len(first) == 21 and abs(last[0] - 88) <= 1 and len(last) == 12


def test_second_event_makes_the_clip_longer(make_result: Any, tmp_path: Path) -> None:
    clips = record(tmp_path, make_result, [20, 35])
    (path,) = clips.written
    assert abs(frames_of(path)[-1] - 55) <= 1


def test_clip_keeps_the_clock_when_frames_are_missing(make_result: Any, tmp_path: Path) -> None:
    clips = ClipOutput(tmp_path, fps=10, live=False, before=1.0, after=1.0)
    output = EventOutput(Watch(["person"], cooldown=9.0, source="x"), [], model=lambda: "ssd", triggers=[clips.trigger])
    for index in range(0, 40, 5):  # two frames a second into a video of ten
        result = make_result(index, [PERSON] if index == 20 else [], value=2 * index, size=(64, 48))
        for each in (output, clips):
            each.add(result, result.frame.image)
    clips.close()
    with VideoFile(clips.written[0]) as video:
        assert video.info.duration == pytest.approx(2.5, abs=0.6)
        assert [seconds for _, seconds in video][-1] == pytest.approx(2.0, abs=0.002)


@pytest.mark.parametrize("shift", [-3600.0, 3600.0])
def test_clip_is_whole_though_the_clock_is_set(make_result: Any, tmp_path: Path, shift: float) -> None:
    clips = ClipOutput(tmp_path, fps=10, live=False, before=1.0, after=2.0)
    for index in range(80):
        wall = 1.7e9 + index / 10 + (shift if index >= 42 else 0.0)
        result = make_result(index, [PERSON] if index == 40 else [], wall=wall, value=2 * index, size=(64, 48))
        if index == 40:
            clips.trigger(Watch(["person"], cooldown=0.0, source="x").look(result, "ssd")[0])
        clips.add(result, result.frame.image)
    clips.close()
    found = frames_of(clips.written[0])
    assert len(found) == 31 and abs(found[0] - 30) <= 1 and abs(found[-1] - 60) <= 1


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        ClipOutput(tmp_path / "file" / "clips", fps=10, live=True)


def test_clip_that_cannot_be_written_is_reported_and_the_frames_go_on(
    make_result: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("disk full")

    monkeypatch.setattr("edgessd.apps.camera.clips.VideoWriter", refuse)
    clips = record(tmp_path, make_result, [10, 60])
    assert clips.written == [] and capfd.readouterr().err == "clip: disk full\nclip: disk full\n"
