"""How commands end: by a signal, without a terminal, on a full disk. What was found is kept each time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from edgessd import Detector, _signals
from edgessd._cv2 import cv2
from edgessd._signals import WISHES
from edgessd.cli import detect as command
from edgessd.cli import options
from edgessd.cli.detect import detect, timing_table
from edgessd.cli.progress import LateProgress
from edgessd.cli.run import run
from edgessd.errors import InputError
from edgessd.runtimes.fake import FakeRuntime

posix = pytest.mark.skipif(os.name != "posix", reason="signals and descriptors of POSIX")


class Trap(FakeRuntime):
    """Sends this process a signal in its third run."""

    number = 0

    def run(self, batch):
        if self.calls == 2 and self.number:
            signal.raise_signal(self.number)
        return super().run(batch)


@pytest.fixture(autouse=True)
def _handlers_stay_in_the_process_of_the_command():
    before = {number: signal.getsignal(number) for number in WISHES}
    _signals._counted[0] = -1e9
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def trap(monkeypatch):
    runtime = Trap([("cat", 0.9, (0.1, 0.1, 0.6, 0.6))], classes=("cat",))
    monkeypatch.setattr(options, "load_detector", lambda *_: Detector(runtime))
    return runtime


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((20, 30, 3), np.uint8))
    return folder


@pytest.fixture
def clip(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for _ in range(6):
        writer.write(np.zeros((24, 32, 3), np.uint8))
    writer.release()
    return tmp_path / "clip.avi"


def ends(arguments, monkeypatch, function=detect):
    """Run a command as the command line does; return its exit code."""
    app = typer.Typer()
    app.command()(function)
    monkeypatch.setattr("sys.argv", ["edgessd", *map(str, arguments)])
    monkeypatch.setattr(command, "app", app, raising=False)
    with pytest.raises(SystemExit) as ended:
        run("edgessd.cli.detect")
    return ended.value.code


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("kind", ["pictures", "clip"])
def test_a_signal_ends_detect_with_what_it_has(kind, name, trap, pictures, clip, tmp_path, monkeypatch, capfd):
    trap.number = getattr(signal, name)
    out, rows, saved = tmp_path / "o.json", tmp_path / "o.csv", tmp_path / "out"
    source = pictures if kind == "pictures" else clip
    code = ends([source, "--json", out, "--csv", rows, "--save", saved], monkeypatch)
    assert code == 128 + trap.number
    document = json.loads(out.read_text())
    assert len(document["results"]) == 3 and document["stopped"] == f"stopped by {name}"
    assert len(rows.read_text().splitlines()) == 4
    assert f"stopped by {name} after 3" in capfd.readouterr().err
    if kind == "pictures":
        assert sorted(path.name for path in saved.iterdir()) == ["0.png", "1.png", "2.png"]
    else:
        (video,) = saved.iterdir()
        capture, frames = cv2.VideoCapture(str(video)), 0
        while capture.read()[0]:
            frames += 1
        assert frames == 3
    assert not list(tmp_path.rglob(".*"))


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_every_other_command_as_an_exception(name, monkeypatch, capfd):
    number, closed = getattr(signal, name), []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            closed.append(True)

    assert ends([], monkeypatch, work) == 128 + number and closed == [True]
    assert capfd.readouterr().err == f"stopped by {name}\n"


def test_files_are_written_where_the_work_breaks_off(trap, pictures, tmp_path, monkeypatch):
    full = InputError("cannot write out/2.png: No space left on device")

    def add(self, *_):
        if trap.calls == 3:
            raise full

    monkeypatch.setattr(command.AnnotatedOutput, "add", add)
    with pytest.raises(InputError, match="No space left"):
        detect([str(pictures)], save=tmp_path / "out", json_file=tmp_path / "o.json")
    assert len(json.loads((tmp_path / "o.json").read_text())["results"]) == 3


def test_one_file_that_cannot_be_written_leaves_the_other(trap, pictures, tmp_path, monkeypatch, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(InputError, match="cannot write /dev/full: No space left"):
        detect([str(pictures)], json_file=Path("/dev/full"), csv_file=tmp_path / "o.csv")
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 7
    assert "objects" in capsys.readouterr().out  # and the table is printed


def test_targets_are_looked_at_before_the_work(trap, pictures, tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        detect([str(pictures)], csv_file=tmp_path / "no" / "o.csv")
    assert trap.calls == 0


@posix
def test_names_that_are_no_text(trap, pictures, tmp_path, capsys):
    (pictures / "0.png").rename(pictures / os.fsdecode(b"caf\xe9\x1b[31m.png"))
    detect([str(pictures)], json_file=tmp_path / "o.json", csv_file=tmp_path / "o.csv")
    assert len(json.loads((tmp_path / "o.json").read_text())["results"]) == 6
    assert r"caf\udce9" in (tmp_path / "o.csv").read_text()
    out = capsys.readouterr().out
    assert "caf??[31m.png" in out and "\x1b" not in out


def test_the_first_run_is_not_in_the_mean(capsys):
    slow = {"milliseconds": {"read": 1.0, "run": 500.0}}
    fast = {"milliseconds": {"read": 1.0, "run": 5.0}}
    cells = [list(column.cells) for column in timing_table([slow, fast, fast]).columns]
    assert cells == [["read", "run"], ["1.00", "5.00"]]
    alone = timing_table([slow])
    assert alone.columns[1].header == "ms of the first run" and list(alone.columns[1].cells) == ["1.00", "500.00"]


class Terminal:
    """A console that says it is a terminal."""

    def __new__(cls, **_):
        from rich.console import Console

        return Console(stderr=True, force_terminal=True, width=80)


def test_progress_is_shown_after_two_seconds_on_a_terminal_alone(monkeypatch, capsys):
    monkeypatch.setattr("edgessd.cli.progress.Console", Terminal)
    for patience, shown in ((100.0, False), (0.0, True)):
        monkeypatch.setattr("edgessd.cli.progress.PATIENCE", patience)
        with LateProgress() as progress:
            progress.update("frames of clip.mp4", 3, 10)
        captured = capsys.readouterr()
        assert ("frames of clip.mp4" in captured.err and "3/10" in captured.err) is shown
        assert captured.out == ""
    monkeypatch.undo()
    monkeypatch.setattr("edgessd.cli.progress.PATIENCE", 0.0)
    with LateProgress() as progress:
        progress.update("frames", 3, 10)
    assert capsys.readouterr().err == ""


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "edgessd", *map(str, arguments)], **options)


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("| head -1", 0, ""),
        (">&-", 0, ""),
        (">/dev/full", 2, "error: cannot write to standard output: No space left on device\n"),
        (">&- 2>&- <&-", 0, ""),
    ],
)
def test_the_command_in_a_shell_whose_output_ends(pictures, tmp_path, shell, code, said):
    line = f"set -o pipefail; {sys.executable} -m edgessd detect {pictures} --json o.json {shell}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, said)
    assert len(json.loads((tmp_path / "o.json").read_text())["results"]) == 6


@posix
@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8:strict"])
def test_the_command_whose_output_lacks_letters(pictures, tmp_path, encoding):
    (pictures / "0.png").rename(pictures / "größe日本.png")
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "edgessd", "detect", str(pictures), "--json", "o.json"], cwd=tmp_path, env=env,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "o.json").read_text())["results"]) == 6


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_the_camera_ends_whole_by_two_signals_in_a_row(number, tmp_path):
    process = start(
        "camera", "--source", "demo", "--loop", "--no-window", "-o", "o.mp4", "--json", "o.json", "--csv", "o.csv",
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "o.csv").exists() or (tmp_path / "o.csv").stat().st_size < 1000:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert json.loads((tmp_path / "o.json").read_text())["frames"]
    assert cv2.VideoCapture(str(tmp_path / "o.mp4")).read()[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "o.json", "o.mp4"]


@posix
@pytest.mark.slow
def test_what_a_killed_camera_leaves_is_kept_at_the_next_start(tmp_path):
    process = start(
        "camera", "--source", "demo", "--loop", "--no-window", "-o", "o.avi", "--json", "o.json", cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size > 20_000 for path in tmp_path.iterdir()) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    again = ["camera", "--source", "demo", "--no-window", "--max-frames", "3", "-o", "o.avi", "--json", "o.json"]
    done = subprocess.run([sys.executable, "-m", "edgessd", *again], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "recovered" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"o.avi", "o.json", "o.recovered.avi", "o.recovered.jsonl"}
    assert cv2.VideoCapture(str(tmp_path / "o.recovered.avi")).read()[0]
