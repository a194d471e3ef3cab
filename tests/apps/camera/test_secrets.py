"""A session whose source, webhook and broker have secrets in their addresses: no output has one."""

import json
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from edgessd.apps.camera import live
from edgessd.cli.app import app
from edgessd.detector import Detector
from edgessd.io.video.types import VideoInfo
from edgessd.runtimes.fake import FakeRuntime

FRAMES = 4


class FakeDecoder:
    """A stream that is lost after some frames."""

    opened: ClassVar[list[str]] = []

    def __init__(self, source: str, **_: Any) -> None:
        self.opened.append(source)
        self.info = VideoInfo((64, 48))

    def frames(self) -> Iterator[Any]:
        yield from [(np.full((48, 64, 3), 90, np.uint8), number / 25) for number in range(FRAMES)]

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    answers = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8))]
    monkeypatch.setattr(Detector, "load", lambda *_, **__: Detector(FakeRuntime(answers, classes=("cat", "dog"))))
    monkeypatch.setattr(live, "open_decoder", FakeDecoder)
    monkeypatch.setattr(live, "_answers_with_picture", lambda *_: False)
    FakeDecoder.opened = []


@pytest.fixture
def hook() -> Iterator[Any]:
    """Takes webhooks; `got` is all of their requests, `answer` what it says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.got.append((body, self.headers["Authorization"]))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://me:S3CR%40ET@cam/live", "rtsp://cam/live"),
        ("rtsp://me@cam/live", "rtsp://cam/live"),  # the password comes from the environment
        ("http://10.0.0.7/mjpg?user=me&pwd=S3CRET&x=1", "http://10.0.0.7/mjpg?user=me&pwd=***&x=1"),
        ("rtsp://10.0.0.7/user=me_password=S3CRET_channel=1?real", "rtsp://10.0.0.7/user=me_password=***"),
    ],
)
def test_no_output_shows_a_secret(
    source: str, name: str, hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MQTT_PASSWORD", "WEBHOOK_PASSWORD", *(["SOURCE_PASSWORD"] if "//me@" in source else [])):
        monkeypatch.setenv(f"EDGESSD_{variable}", "S3CRET")
    line = ["--json", "out.json", "--csv", "out.csv", "-o", "out.avi", "--clips", "clips", "--on-detect", "cat"]
    line += ["--webhook", f"http://me@127.0.0.1:{hook.server_port}/S3CRET?x=S3CRET", "--exec", "tee event.json"]
    line += ["--mqtt", "mqtt://me@127.0.0.1:1", "--home-assistant", "--retries", "0"]
    result = CliRunner().invoke(app, ["camera", "--source", source, *line])
    assert name in str(result.exception)
    document = json.loads(Path("out.json").read_text())
    assert document["source"] == name and name in document["error"]
    assert len(document["frames"]) >= 1 and json.loads(Path("event.json").read_text())["source"] == name
    assert len(hook.got) == 1 and hook.got[0][1] is not None
    captured = capfd.readouterr()
    texts = [result.output, captured.out, captured.err, "".join(traceback.format_exception(result.exception))]
    texts += [hook.got[0][0], *map(str, tmp_path.rglob("*"))]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert "webhook failed (1): http://127.0.0.1:" in "".join(texts) and "mqtt: mqtt://127.0.0.1:1/" in "".join(texts)
    for text in texts:
        assert not any(part in text for part in ("S3CR", "ET@", "%40ET")), text
    assert FakeDecoder.opened[0] == source.replace("me@", "me:S3CRET@")


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://me:S3CR#ET@cam/live",
        "rtsp://me:S3CR/ET@cam/live",
        "rtsp://me:S3CR?ET@cam/live",
        "rtsp://me:S3CRET@ca m/live",
        "rtsp://me:S3CRET@cam:99999/live",
        "rtsp://me:S3CRET@[::1/live",
        "rtspsrc location=rtsp://me:S3CRET@cam/live user-pw=S3CRET ! appsink",
        "me:S3CRET@cam/live.mp4",
    ],
)
def test_sources_that_are_none(source: str) -> None:
    result = CliRunner().invoke(app, ["camera", "--source", source, "--no-window"])
    text = "".join(traceback.format_exception(result.exception)) + result.output
    assert result.exit_code != 0 and "\n" not in str(result.exception)
    assert "S3CR" not in text and "ET@" not in text and FakeDecoder.opened == []


def test_print_config_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESSD_SOURCE", "rtsp://me:S3CRET@cam/live")
    monkeypatch.setenv("EDGESSD_WEBHOOK", "http://me:S3CRET@cam/hook?key=S3CRET")
    monkeypatch.setenv("EDGESSD_WEB_TOKEN", "S3CRET-token")
    command = "curl -H 'Authorization: Bearer S3CRET' http://me:S3CRET@cam/x"
    result = CliRunner().invoke(app, ["camera", "--print-config", "--exec", command])
    assert result.exit_code == 0 and "S3CRET" not in result.output
    assert '#source = "rtsp://cam/live"' in result.output and '#webhook = "..."' in result.output
    assert "#exec = \"curl -H 'Authorization: Bearer ***' http://cam/x\"" in result.output
