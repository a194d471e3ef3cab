import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.apps.camera.jpeg import encode_jpeg
from edgessd.apps.camera.web.metrics import exposition
from edgessd.apps.camera.web.routes import MAX_VIEWERS
from edgessd.apps.camera.web.server import WebAddress
from edgessd.errors import OptionError, printable

websockets: Any = pytest.importorskip("websockets")
connect: Any = pytest.importorskip("websockets.sync.client").connect
ROOT = Path(__file__).resolve().parents[4]


def get(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    request = urllib.request.Request(url, data, {key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def settings(web: Any, **values: Any) -> tuple[int, dict[str, Any]]:
    code, body, _ = get(f"{web.base}/api/settings", json.dumps(values).encode())
    return code, json.loads(body)


class Stream:
    """A reader of the MJPEG stream."""

    def __init__(self, port: int, path: str = "/stream.mjpg", buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.head = self.file.readline()
        while self.file.readline().strip():
            pass

    def picture(self) -> Any:
        """The next picture; chunk sizes of HTTP are read over."""
        while not (line := self.file.readline()).startswith(b"Content-Length:"):
            assert line, "the stream has ended"
        length = int(line.split(b":")[1])
        self.file.readline()
        return cv2.imdecode(np.frombuffer(self.file.read(length), np.uint8), cv2.IMREAD_COLOR)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_page_and_state(web: Any) -> None:
    code, body, headers = get(f"{web.base}/")
    assert (
        code == 200 and body.startswith(b"<!doctype html>") and "frame-ancestors" in headers["Content-Security-Policy"]
    )
    code, body, _ = get(f"{web.base}/api/state")
    state = json.loads(body)
    assert state["models"] == ["one", "two"] and state["classes"] == ["cat", "dog", "cow"] and state["dropped"] == 3
    assert get(f"{web.base}/../../etc/passwd")[0] == get(f"{web.base}/static/index.html")[0] == 404


def test_page_needs_nothing_from_elsewhere() -> None:
    page = (ROOT / "edgessd/apps/camera/web/static/index.html").read_text()
    assert "http://" not in page and "https://" not in page and 'src="//' not in page


def test_picture_moves(web: Any) -> None:
    stream = Stream(web.port)
    assert stream.head.startswith(b"HTTP/1.1 200")
    first, second = stream.picture(), [stream.picture() for _ in range(3)][-1]
    stream.close()
    assert first.shape == (240, 320, 3) and (first != second).any()


def test_several_viewers_cost_one_encoding_and_none_costs_none(web: Any) -> None:
    time.sleep(0.3)
    assert web.hub.encodings == 0
    streams = [Stream(web.port) for _ in range(5)]
    before, begun = web.hub.encodings, web.frames
    for _ in range(20):
        for stream in streams:
            stream.picture()
    # A hundred pictures were read; each was encoded once for all five.
    assert web.hub.encodings - before <= web.frames - begun + 2 and web.hub.encodings - before < 100
    for stream in streams:
        stream.close()
    deadline = time.monotonic() + 5
    while web.hub.pictures.readers and time.monotonic() < deadline:
        time.sleep(0.05)
    assert web.hub.pictures.readers == 0


def test_viewer_that_reads_slowly_holds_nobody_up(run_web: Any) -> None:
    web = run_web(size=(1280, 960), fps=30.0)
    slow, quick = Stream(web.port, buffer=4096), Stream(web.port)
    begun, frames = time.monotonic(), web.frames
    for _ in range(30):
        quick.picture()
    assert time.monotonic() - begun < 6 and web.frames - frames >= 25
    assert web.slowest < 1
    slow.picture()
    slow.close()
    quick.close()


def test_reader_of_messages_that_never_reads_costs_no_memory(run_web: Any) -> None:
    web = run_web(fps=200.0)
    with socket.create_connection(("127.0.0.1", web.port), 5) as link:
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        head = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        # Each message is made larger than the buffers of the system together in half a second.
        web.source.name = "x"
        web.output._state.now = lambda now=web.output._state.now: {**now(), "padding": "x" * 100_000}
        time.sleep(1.0)
        sent = web.hub.messages._number
        time.sleep(0.5)
        tracemalloc.start()
        time.sleep(1.5)
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert web.hub.messages._number > sent + 50 and grown < 3_000_000


def test_message_that_is_too_long_ends_its_connection(web: Any) -> None:
    with (
        connect(f"ws://127.0.0.1:{web.port}/ws/camera") as link,
        pytest.raises(websockets.exceptions.ConnectionClosed),
    ):
        for _ in range(3):
            link.send(b"x" * (5 << 20))
            link.recv(5)


def test_snapshot_without_viewers(web: Any) -> None:
    code, body, headers = get(f"{web.base}/snapshot.jpg")
    assert code == 200 and headers["Content-Type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)


def test_messages_have_detections_and_speed(web: Any) -> None:
    with connect(f"ws://127.0.0.1:{web.port}/ws") as link:
        found = [json.loads(link.recv(5)) for _ in range(5)]
    indices = [message["frame"]["index"] for message in found]
    assert indices == sorted(set(indices))
    assert [each["name"] for each in found[-1]["frame"]["objects"]] == ["cat", "dog"]
    assert found[-1]["fps"] > 5 and found[-1]["title"] == "fake" and "run" in found[-1]["frame"]["milliseconds"]


def test_settings_change_what_is_found(web: Any) -> None:
    assert settings(web, threshold=0.8)[1]["threshold"] == 0.8
    with connect(f"ws://127.0.0.1:{web.port}/ws") as link:
        link.recv(5)
        assert [each["name"] for each in json.loads(link.recv(5))["frame"]["objects"]] == ["cat"]
    code, state = settings(web, threshold=0.3, classes=["dog"])
    assert code == 200 and state["chosen"] == ["dog"]
    assert settings(web, classes=None)[1]["chosen"] is None
    assert settings(web, paused=True)[1]["paused"] is True and web.control.paused
    assert settings(web, model="two")[0] == 200
    deadline = time.monotonic() + 5
    while web.engine.info.model != "two" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert web.engine.info.model == "two"


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 2},
        {"threshold": "high"},
        {"classes": ["cow", "horse"]},
        {"model": "../../etc/passwd"},
        {"model": "/etc/passwd"},
        {"model": "one.onnx"},
        {"runtime": "shell"},
        {"unknown": 1},
    ],
)
def test_settings_that_are_refused(web: Any, values: dict[str, Any]) -> None:
    code, answer = settings(web, **values)
    assert code == 400 and answer["error"]
    assert web.engine.info.model == "one" and web.engine.info.score_threshold == 0.3


def test_settings_that_are_no_json_or_too_long(web: Any) -> None:
    assert get(f"{web.base}/api/settings", b"{")[0] == 400
    assert get(f"{web.base}/api/settings", b" " * 100_000)[0] == 413


def test_metrics_and_health(web: Any) -> None:
    time.sleep(0.3)
    code, body, headers = get(f"{web.base}/metrics")
    assert code == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    assert float(lines["edgessd_frames_total"]) > 1 and lines["edgessd_source_up"] == "1"
    assert float(lines['edgessd_objects_total{class="cat"}']) > 1 and 'edgessd_stage_seconds{stage="run"}' in lines
    assert json.loads(get(f"{web.base}/health")[1])["status"] == "ok"
    web.capture.trouble = "source lost: attempt 2"
    code, body, _ = get(f"{web.base}/health")
    assert code == 503 and json.loads(body)["trouble"] == "source lost: attempt 2"


def test_counts_of_lines_and_zones_are_metrics_and_state(web: Any) -> None:
    assert "zone" not in get(f"{web.base}/metrics")[1].decode()
    web.recorder.counts = {"door": {"in": 12_345_678, "out": 2}, "shelf": {"inside": 3, "entered": 7}}
    lines = get(f"{web.base}/metrics")[1].decode().splitlines()
    for line in (
        'edgessd_crossings_total{line="door",direction="in"} 12345678',
        'edgessd_crossings_total{line="door",direction="out"} 2',
        'edgessd_zone_entered_total{zone="shelf"} 7',
        'edgessd_zone_objects{zone="shelf"} 3',
    ):
        assert line in lines
    assert json.loads(get(f"{web.base}/api/state")[1])["counts"] == web.recorder.counts


def test_numbers_on_the_picture_are_a_setting(web: Any) -> None:
    assert json.loads(get(f"{web.base}/api/state")[1])["numbers"] is True
    answer = json.loads(get(f"{web.base}/api/settings", b'{"numbers": false}')[1])
    assert answer["numbers"] is False and web.control.numbers is False


def test_metrics_escape_what_they_quote() -> None:
    text = exposition([("a", "gauge", "h", [({"class": 'x"\\\n'}, 1.5), ({}, 3)])])
    assert text == '# HELP a h\n# TYPE a gauge\na{class="x\\"\\\\\\n"} 1.5\na 3\n'


def test_trouble_reaches_the_page_while_no_frames_come(web: Any) -> None:
    web.capture.trouble = "source lost: attempt 2"
    time.sleep(0.1)
    with connect(f"ws://127.0.0.1:{web.port}/ws") as link:
        deadline = time.monotonic() + 5
        while json.loads(link.recv(5))["trouble"] is None and time.monotonic() < deadline:
            pass
        message = json.loads(link.recv(5))
    assert message["trouble"] == "source lost: attempt 2" and "frame" not in message


def test_hundred_requests_at_once(web: Any) -> None:
    codes: list[int] = []

    def ask(path: str) -> None:
        codes.append(get(f"{web.base}{path}")[0])

    paths = ("/", "/api/state", "/metrics", "/snapshot.jpg")
    threads = [threading.Thread(target=ask, args=(paths[number % 4],)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert codes == [200] * 100 and web.slowest < 1


def test_too_many_viewers_are_told(web: Any) -> None:
    streams = [Stream(web.port) for _ in range(MAX_VIEWERS)]
    for stream in streams:
        stream.picture()
    assert get(f"{web.base}/stream.mjpg")[0] == 503
    for stream in streams:
        stream.close()


# the browser's own camera


def test_own_camera_goes_there_and_back_with_boxes(web: Any) -> None:
    picture = np.full((120, 160, 3), 60, np.uint8)
    with connect(f"ws://127.0.0.1:{web.port}/ws/camera") as link:
        for _ in range(3):
            link.send(encode_jpeg(picture))
            answer, drawn = json.loads(link.recv(10)), link.recv(10)
    assert [each["name"] for each in answer["objects"]] == ["cat", "dog"] and answer["width"] == 160
    image = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == picture.shape and (np.abs(image.astype(int) - 60) > 60).any()


def test_own_camera_that_sends_rubbish_is_told_and_may_go_on(web: Any) -> None:
    with connect(f"ws://127.0.0.1:{web.port}/ws/camera") as link:
        link.send(b"rubbish")
        assert "error" in json.loads(link.recv(10))
        link.send(encode_jpeg(np.zeros((20, 20, 3), np.uint8)))
        assert "objects" in json.loads(link.recv(10))


# the end


def test_closing_ends_open_streams_and_all_threads(run_web: Any) -> None:
    before = threading.active_count()
    web = run_web()
    stream = Stream(web.port)
    stream.picture()
    with connect(f"ws://127.0.0.1:{web.port}/ws") as link:
        link.recv(5)
        begun = time.monotonic()
        web.close()
        assert time.monotonic() - begun < 6
    stream.close()
    assert threading.active_count() <= before
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", web.port), 1)


# the address


def test_port_that_is_taken_and_what_to_try() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OptionError, match=f"port {port} .*try --web 127.0.0.1:{port + 1}"):
            WebAddress.parse(str(port))


@pytest.mark.parametrize("text", ["", "host", "1:2:3", "99999", "http://x:80", "no.such.host.invalid:0"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="--web"):
        WebAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "has_token"), [("0", False), ("localhost:0", False), ("127.0.0.1:0", False), ("0.0.0.0:0", True)]
)
def test_other_addresses_than_loopback_get_a_token(text: str, has_token: bool) -> None:
    address = WebAddress.parse(text)
    url = address.url
    address.listener.close()
    assert (address.token is not None) is has_token and ("?token=" in url) is has_token
    assert "0.0.0.0" not in url
    if has_token:
        other = WebAddress.parse(text)
        other.listener.close()
        assert address.token != other.token and len(str(address.token)) >= 20


def test_https_with_a_certificate(run_web: Any, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate, both = (tmp_path / name for name in ("key.pem", "cert.pem", "both.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    web = run_web(certificate=both)
    assert web.address.url.startswith("https://127.0.0.1:")
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False
    with urllib.request.urlopen(f"https://127.0.0.1:{web.port}/health", context=trust, timeout=10) as answer:
        assert answer.status == 200


def test_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    with pytest.raises(OptionError, match="certificate and key"):
        WebAddress.parse("0", None, tmp_path / "cert.pem")
    with pytest.raises(OptionError, match="No such file"):
        WebAddress.parse("0", None, tmp_path / "no.pem")


def test_without_its_packages_the_web_view_names_the_command() -> None:
    script = "import sys; sys.modules['starlette'] = None\nimport edgessd.apps.camera.web.server"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "pip install 'edgessd[web]'" in done.stderr.splitlines()[-1]


def test_camera_without_extras_imports_none_of_them() -> None:
    script = (
        "import sys, edgessd.cli.camera, edgessd.apps.camera.session\n"
        "print([name for name in ('starlette', 'uvicorn', 'websockets', 'supervision', 'trackers', 'paho', 'torch')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_only_a_token_that_was_made_here_is_told() -> None:
    given, made = WebAddress.parse("127.0.0.1:0", "s3cret-token"), WebAddress.parse("0.0.0.0:0")
    try:
        assert not given.fresh and "s3cret" in given.url and "s3cret" not in printable(given.url) + repr(given)
        assert made.fresh and made.token is not None and made.token not in repr(made)
    finally:
        given.listener.close()
        made.listener.close()
