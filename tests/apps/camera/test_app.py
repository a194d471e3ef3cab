import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgessd._cv2 import cv2
from edgessd.apps.camera import view
from edgessd.cli.app import app
from edgessd.detector import Detector
from edgessd.errors import InputError, OptionError
from edgessd.io.video import VideoFile, VideoWriter
from edgessd.runtimes.fake import FakeRuntime

ROOT = Path(__file__).resolve().parents[3]
ANSWERS = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8)), ("dog", 0.7, (0.5, 0.5, 0.9, 0.9))]


@pytest.fixture(autouse=True)
def fake_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(Detector, "load", lambda *_, **__: Detector(FakeRuntime(ANSWERS, classes=("cat", "dog"))))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    noise = np.random.default_rng(0)
    with VideoWriter(path, fps=20, size=(320, 240)) as writer:
        for _ in range(30):
            writer.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    return path


def camera(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["camera", *[str(argument) for argument in arguments]])


def count_frames(path: Path) -> int:
    with VideoFile(path) as video:
        return len(list(video))


def test_every_frame_of_a_file(clip: Path, tmp_path: Path) -> None:
    video, report = tmp_path / "out.mp4", tmp_path / "out.json"
    result = camera("--source", clip, "--output", video, "--json", report, "--no-window")
    assert result.exit_code == 0, result.output
    assert count_frames(video) == 30
    document = json.loads(report.read_text())
    assert document["source"] == str(clip) and document["error"] is None
    assert [entry["index"] for entry in document["frames"]] == list(range(30))
    assert all([found["name"] for found in entry["objects"]] == ["cat", "dog"] for entry in document["frames"])
    assert document["summary"]["objects"] == {"cat": 30, "dog": 30}
    assert set(document["summary"]["median_ms"]) == {"capture", "preprocess", "run", "postprocess", "draw", "output"}
    for line in ("frames      30", "FPS over", "median ms   capture", "objects     cat 30  dog 30", f"wrote {video}"):
        assert line in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", "out.json", "out.mp4"]


def test_counts_of_lines_and_zones_stand_in_summary_and_document(clip: Path, tmp_path: Path) -> None:
    report = tmp_path / "out.json"
    zones = ["--zone", "all=0,0,1,0,1,1,0,1", "--zone", "no\nthing=0,0,0.1,0,0,0.1"]
    result = camera("--source", clip, "--json", report, "--no-window", "--max-frames", 5, *zones)
    assert result.exit_code == 0, result.output
    document = json.loads(report.read_text())
    assert document["summary"]["counts"]["all"]["inside"] == 2
    assert document["summary"]["counts"] == document["frames"][-1]["counts"]
    assert "counted     all: inside 2, entered 0\ncounted     no?thing: inside 0, entered 0\n" in result.output


def test_without_numbers_there_are_boxes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(view, "draw_strip", lambda *_: asked.append("strip"))
    monkeypatch.setattr(view, "speed_panel", lambda *_: SimpleNamespace(rect=(0, 0, 1, 1), draw=asked.append))
    line = ("--source", "demo", "--max-frames", 3, "--no-window", "-o", tmp_path / "out.mp4")
    assert camera(*line, "--no-numbers").exit_code == 0 and asked == []
    assert camera(*line).exit_code == 0 and len(asked) == 5  # the first frame has no panel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "frames"), [("vtest.avi", 795), ("bottle-detection.mp4", 1189), ("car-detection.mp4", 377)]
)
def test_every_frame_of_real_clips(shared: Path, tmp_path: Path, name: str, frames: int) -> None:
    clip = shared / "data" / "videos" / name
    if not clip.exists():
        pytest.skip(f"needs {name}")
    video, report = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    result = camera("--source", clip, "-o", video, "--json", report, "--no-window")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["index"] for line in report.read_text().splitlines()] == list(range(frames))
    assert count_frames(video) == frames


def test_boxes_are_in_the_video(clip: Path, tmp_path: Path) -> None:
    camera("--source", clip, "--output", tmp_path / "out.avi", "--no-window")
    with VideoFile(tmp_path / "out.avi") as video:
        frame = list(video)[-1].image.astype(int)
    column = frame[150:180, 31:34].reshape(-1, 3)  # the left side of the cat's box: blue
    assert np.percentile(column[:, 0] - column[:, 2], 90) > 100


def test_end_after_some_frames(clip: Path, tmp_path: Path) -> None:
    result = camera("--source", clip, "--output", tmp_path / "out.mp4", "--max-frames", 7, "--no-window")
    assert result.exit_code == 0 and "frames      7\n" in result.output
    assert count_frames(tmp_path / "out.mp4") == 7


def test_demo_without_a_display_says_so_and_goes_on() -> None:
    result = camera("--source", "demo", "--max-frames", 3)
    assert result.exit_code == 0 and "frames      3\n" in result.output
    assert result.output.count("no window: ") == 1 and "going on without one" in result.output


def test_video_that_ends_early_keeps_its_results(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    video, report = tmp_path / "out.mp4", tmp_path / "out.json"
    result = camera("--source", clip, "--output", video, "--json", report, "--no-window")
    assert isinstance(result.exception, InputError) and "ended after" in str(result.exception)
    document = json.loads(report.read_text())
    assert document["error"] == str(result.exception)
    assert 5 < len(document["frames"]) < 25
    assert count_frames(video) == len(document["frames"]) == document["summary"]["frames"]


def test_failure_of_ours_keeps_what_was_found_and_is_not_hidden(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(FakeRuntime):
        def run(self, batch: Any) -> Any:
            if self.calls == 4:
                raise ZeroDivisionError("a fault")
            return super().run(batch)

    monkeypatch.setattr(Detector, "load", lambda *_, **__: Detector(Breaks(ANSWERS, classes=("cat", "dog"))))
    result = camera("--source", clip, "--output", tmp_path / "o.mp4", "--json", tmp_path / "o.json", "--no-window")
    assert isinstance(result.exception, ZeroDivisionError)
    assert count_frames(tmp_path / "o.mp4") == len(json.loads((tmp_path / "o.json").read_text())["frames"]) == 4


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (["--source", "no.mp4"], InputError, "no such file"),
        (["--source", "97"], InputError, "camera 97 cannot be opened"),
        (["--source", "demo", "--output", "out.gif"], InputError, "videos are written as"),
        (["--source", "demo", "--output", "no/folder/out.mp4"], InputError, "there is no folder"),
        (["--source", "demo", "--json", "no/folder/out.json"], InputError, "there is no folder"),
        (["--source", "{clip}", "--output", "{clip}"], OptionError, "is one of the files to be read"),
        (["--size", "640"], OptionError, "--size 640: give width and height"),
        (["--drawing", "fine"], OptionError, "use own or supervision"),
        (["--csv", "out.txt"], OptionError, "--csv out.txt: name it"),
        (["--json", "-", "--csv", "-"], OptionError, "would mix"),
        (["--line", "0,0,1"], OptionError, "--line"),
        (["--zone", "a=0,0,1,0,1,1", "--zone", "a=0,0,1,0,1,1"], OptionError, "have the same name"),
        (["--webhook", "http://x/"], OptionError, "--webhook needs --on-detect CLASS"),
        (["--clips", "clips"], OptionError, "--clips needs --on-detect CLASS"),
        (["--on-detect", "cat", "--webhook", "x"], OptionError, "http://"),
        (["--on-detect", "cat", "--exec", "no-such-program-here"], OptionError, "no such program"),
        (["--on-detect", "ca", "--source", "demo", "--no-window"], OptionError, "did you mean 'cat'"),
        (["--models", "no/folder"], InputError, "no such folder"),
        (["--web-cert", "x.pem"], OptionError, "belongs to --web"),
    ],
)
def test_mistakes_are_found_before_the_work(clip: Path, arguments: list[str], kind: type[Exception], text: str) -> None:
    result = camera(*[argument.format(clip=clip) for argument in arguments])
    assert isinstance(result.exception, kind) and text in str(result.exception)
    assert result.output == ""


def test_number_of_frames_must_be_positive() -> None:
    assert camera("--source", "demo", "--max-frames", 0).exit_code == 2


def test_every_third_frame_of_a_smaller_size(clip: Path, tmp_path: Path) -> None:
    video = tmp_path / "out.avi"
    result = camera("--source", clip, "--every", 3, "--size", "160x120", "-o", video, "--no-window")
    assert result.exit_code == 0 and "frames      10\n" in result.output
    with VideoFile(video) as written:
        assert written.info.size == (160, 120) and written.info.fps == pytest.approx(20 / 3, abs=0.1)


def test_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "1.png").write_bytes(b"broken")
    result = camera("--source", tmp_path, "--no-window", "--csv", "-")
    assert result.exit_code == 0 and "left out: " in result.output
    assert [line.split(",")[0] for line in result.output.splitlines() if ",cat," in line] == ["0", "1"]


def test_lines_events_and_clips(clip: Path, tmp_path: Path) -> None:
    report, log, clips = tmp_path / "got.json", tmp_path / "o.jsonl", tmp_path / "clips"
    command = f"{sys.executable} -c \"import sys; open(r'{report}', 'w').write(sys.stdin.read())\""
    arguments = ["--on-detect", "dog", "--exec", command, "--clips", clips, "--clip-after", 1, "--json", log]
    zone = ["--zone", "left=0,0,0.5,0,0.5,1,0,1"]
    result = camera("--source", clip, "--no-window", "--drawing", "own", *arguments, *zone)
    assert result.exit_code == 0 and "events      1\n" in result.output
    event = json.loads(report.read_text())
    assert (event["name"], event["frame"], event["source"]) == ("dog", 0, str(clip))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 30 and lines[-1]["counts"] == {"left": {"inside": 1, "entered": 0}}
    (written,) = clips.iterdir()
    assert count_frames(written) == 21


def test_output_that_fails_in_mid_run_is_left_out_and_the_rest_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("edgessd.apps.camera.outputs.shutil.disk_usage", lambda _: usage)
    log = tmp_path / "o.jsonl"
    result = camera("--source", clip, "-o", tmp_path / "o.mp4", "--json", log, "--no-window", "--max-fps", 200)
    assert isinstance(result.exception, InputError) and "the disk is nearly full" in str(result.exception)
    assert "going on without it" in result.output and len(log.read_text().splitlines()) == 30


def test_lost_source_is_an_error_after_its_retries(mjpeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgessd.apps.camera.reconnect.PAUSES", (0.05,))
    server = mjpeg.MjpegServer(fps=50)
    threading.Timer(1.0, server.kill).start()
    log = tmp_path / "o.jsonl"
    result = camera("--source", server.url, "--retries", 2, "--json", log, "--no-window")
    assert isinstance(result.exception, InputError) and "cannot be opened" in str(result.exception)
    assert "lost; trying again" in result.output and len(log.read_text().splitlines()) > 5
    assert "frame age" in result.output


SLOW = """
import sys, time
from edgessd.detector import Detector
from edgessd.runtimes.fake import FakeRuntime

class Slow(FakeRuntime):
    def run(self, batch):
        time.sleep(0.05)
        if self.calls == 2:
            print("running", flush=True)
        return super().run(batch)

Detector.load = lambda *_, **__: Detector(Slow([("cat", 0.9, (0.1, 0.2, 0.5, 0.8))], classes=("cat",)))
from edgessd.cli.run import run
run("edgessd.cli.app", "camera")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_cleanly(tmp_path: Path, number: int) -> None:
    video, report = tmp_path / "out.mp4", tmp_path / "out.json"
    command = [sys.executable, "-c", SLOW, "--source", "demo", "--output", video, "--json", report, "--no-window"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        time.sleep(0.1)
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    frames = len(json.loads(report.read_text())["frames"])
    assert 2 < frames < 150 and f"frames      {frames}\n" in output
    assert count_frames(video) == frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.mp4"]


def test_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edgessd.apps.camera", "--source", "no.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no.mp4: no such file") and done.stderr.count("\n") == 1
