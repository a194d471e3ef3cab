import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.apps.camera.reconnect import Reconnecting
from edgessd.apps.camera.sources import open_source
from edgessd.errors import DependencyError, InputError
from edgessd.io.video import VideoWriter

PICTURE = np.full((48, 64, 3), 90, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20 + number, 30, 3), number * 50, np.uint8))
    return tmp_path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.avi", fps=12, size=(64, 48)) as writer:
        for value in (20, 120, 220):
            writer.write(np.full((48, 64, 3), value, np.uint8))
    return tmp_path / "clip.avi"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("99", "camera 99 cannot be opened"),
        ("/dev/video98", "camera 98 cannot be opened"),
        ("no.mp4", "no.mp4: no such file"),
        ("no.jpg", "no.jpg: no such file"),
        ("no/*.jpg", "no file matches this pattern"),
        ("rtsp://me:secret@127.0.0.1:1/live", "rtsp://127.0.0.1:1/live: this stream cannot be opened"),
        ("http://127.0.0.1:1/stream", "this stream cannot be opened"),
        ("http://127.0.0.1:1/clip.mp4", "check the address and the network"),
    ],
)
def test_sources_that_do_not_open(source: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        list(open_source(source, timeout=2))
    assert text in str(caught.value) and "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert "secret" not in "".join(capfd.readouterr())


def test_empty_video_and_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4: empty"):
        open_source(str(tmp_path / "empty.mp4"))
    with pytest.raises(InputError, match="no pictures in this folder"):
        open_source(str(tmp_path))


def test_file_and_demo_are_not_live(clip: Path) -> None:
    source = open_source(str(clip))
    assert (source.live, source.fps, source.frame_count) == (False, 12.0, 3)
    assert len(list(source)) == 3
    source.close()
    demo = open_source("demo", size=(160, 120))
    assert (demo.live, demo.frame_count) == (False, 150)
    assert next(iter(demo)).image.shape == (120, 160, 3)


def test_loop_begins_again_at_the_end(clip: Path) -> None:
    source = open_source(str(clip), loop=True)
    frames = iter(source)
    values = [round(float(next(frames).image.mean()), -1) for _ in range(8)]
    source.close()
    assert values == [20, 120, 220, 20, 120, 220, 20, 120] and source.frame_count is None


def test_size_resizes_what_is_no_camera(clip: Path) -> None:
    assert {frame.image.shape for frame in open_source(str(clip), size=(32, 16))} == {(16, 32, 3)}


def test_pictures_of_a_folder_and_of_a_pattern(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert [frame.image.shape for frame in open_source(str(folder))] == [(20, 30, 3), (21, 30, 3), (22, 30, 3)]
    assert len(list(open_source(str(folder / "[01].png")))) == 2
    (folder / "1.png").write_bytes(b"no picture")
    assert len(list(open_source(str(folder)))) == 2
    error = capfd.readouterr().err
    assert error.startswith("left out: ") and "1.png" in error and error.count("\n") == 1


def test_folder_of_broken_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.jpg"):
        list(open_source(str(tmp_path)))


class Camera:
    """Stands for a cv2.VideoCapture that sends `count` frames."""

    def __init__(self, count: int, size: tuple[int, int] = (64, 48)) -> None:
        self.left, self.asked, self.size = count, {}, size

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, PICTURE[:, :, 0]) if self.left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: self.size[0], cv2.CAP_PROP_FRAME_HEIGHT: self.size[1]}.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:
        self.asked[prop] = value
        return False

    def release(self) -> None:
        self.left = 0


@pytest.mark.parametrize(("count", "text"), [(0, "sends no frames"), (3, "no more frames after 3")])
def test_end_of_a_camera_is_an_error(monkeypatch: pytest.MonkeyPatch, count: int, text: str) -> None:
    monkeypatch.setattr("edgessd.apps.camera.live.open_capture", lambda *_, **__: Camera(count))
    source = open_source("0")
    assert source.live and source.fps == 25.0
    found = []
    with pytest.raises(InputError, match=text):
        for frame in source:
            found.append(frame.image.shape)
    assert found == [(48, 64, 3)] * count
    source.close()


def test_camera_is_asked_for_its_size_and_says_what_it_gives(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    camera = Camera(1)
    monkeypatch.setattr("edgessd.apps.camera.live.open_capture", lambda *_, **__: camera)
    open_source("0", size=(320, 240))
    assert camera.asked[cv2.CAP_PROP_FRAME_WIDTH] == 320 and camera.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 240
    assert capfd.readouterr().err == "camera 0: gives 64x48, not 320x240\n"


def test_stable_name_of_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("edgessd.apps.camera.live.open_capture", lambda source, **_: opened.append(source) or Camera(1))
    monkeypatch.setattr(Path, "resolve", lambda self: Path("/dev/video2"))
    open_source("/dev/v4l/by-id/usb-cam-index0")
    open_source("/dev/video5")
    assert opened == [2, 5]


def test_gstreamer_needs_an_opencv_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = "videotestsrc ! videoconvert ! appsink"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GStreamer:  NO\n")
    with pytest.raises(DependencyError, match="python3-opencv"):
        open_source(pipeline)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GStreamer:  YES (1.22)\n")
    asked = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: asked.append(arguments) or Camera(1))
    source = open_source(pipeline)
    assert source.live and asked == [(pipeline, cv2.CAP_GSTREAMER)]


def test_picamera_is_named_when_missing_and_used_when_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DependencyError, match="apt install python3-picamera2"):
        open_source("picamera")
    made = []

    class Picamera2:
        def __init__(self, number: int) -> None:
            made.append(number)

        def create_video_configuration(self, main: Any, buffer_count: int) -> Any:
            return main

        def configure(self, main: Any) -> None:
            made.append(main)

        def start(self) -> None:
            made.append("start")

        def capture_array(self) -> Any:
            return np.zeros((240, 320, 4), np.uint8)

        def stop(self) -> None:
            made.append("stop")

        def close(self) -> None: ...

    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    source = open_source("picamera:1", size=(320, 240))
    assert source.live and next(iter(source)).image.shape == (240, 320, 3)
    source.close()
    assert made == [1, {"format": "RGB888", "size": (320, 240)}, "start", "stop"]


def test_browser_alone_waits_until_it_is_closed() -> None:
    source = open_source("browser")
    assert source.live and source.trouble is not None
    source.interrupt()
    assert list(source) == []


# addresses


@pytest.fixture
def snapshots() -> Iterator[tuple[str, list[str]]]:
    """A camera that answers each request with its latest picture; the address, and what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = cv2.imencode(".png", np.full((48, 64, 3), 10 * len(asked), np.uint8))[1].tobytes()
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/cgi-bin/snapshot", asked
        server.shutdown()
        thread.join()


def test_snapshot_address_is_asked_again_and_again_without_a_word(
    snapshots: tuple[str, list[str]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = snapshots
    monkeypatch.setattr("edgessd.apps.camera.live.SnapshotSource.fps", 100.0)
    source = Reconnecting(lambda: open_source(address, size=(32, 24)))
    frames = list(itertools.islice(source, 4))
    assert [round(float(frame.image.mean())) for frame in frames] == [20, 30, 40, 50]  # the first request only looks
    assert [frame.image.shape for frame in frames] == [(24, 32, 3)] * 4
    times = [frame.time for frame in frames]
    assert times == sorted(times) and times[-1] - times[0] >= 0.025 and len(asked) <= 6
    assert source.live and source.trouble is None and source.reconnects == 0
    source.close()
    assert capfd.readouterr() == ("", "")


def test_snapshots_end_when_they_are_interrupted(snapshots: tuple[str, list[str]]) -> None:
    source = open_source(snapshots[0])
    next(iter(source))
    source.interrupt()
    assert list(source) == []


@pytest.mark.parametrize("given", ["http://127.0.0.1:{}/live", "rtsp://127.0.0.1:{}/live"])
def test_stream_that_never_answers_is_given_up(given: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        with pytest.raises(InputError, match="this stream cannot be opened"):
            open_source(given.format(server.getsockname()[1]), timeout=0.3)
        assert time.monotonic() - begun < 5


def test_stream_that_falls_silent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pictures, and then nothing on a connection that stays."""
    pytest.importorskip("av")
    data = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"

    def serve(server: socket.socket) -> None:
        for _ in range(2):  # who looks, and who reads
            client, _ = server.accept()
            client.recv(4096)
            client.sendall(head + part * 40)
            clients.append(client)

    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        source = open_source(f"http://127.0.0.1:{server.getsockname()[1]}/live", timeout=1.0)
        begun, count = time.monotonic(), 0
        with pytest.raises(InputError, match=r"no more frames after \d+ \(no answer in time\)"):
            for _ in source:
                count += 1
        assert 20 < count <= 40 and time.monotonic() - begun < 6
        source.close()
        thread.join()
        for client in clients:
            client.close()


def test_file_address_is_a_file(clip: Path) -> None:
    source = open_source(f"file://{clip}")
    assert not source.live and [frame.time for frame in source] == pytest.approx([0, 1 / 12, 2 / 12], abs=0.001)


def test_time_goes_on_when_a_file_begins_again(clip: Path) -> None:
    source = open_source(str(clip), loop=True)
    times = [frame.time for frame in itertools.islice(source, 7)]
    source.close()
    assert times == pytest.approx([number / 12 for number in range(7)], abs=0.001)
