"""What `detect` makes of videos: times, saved copies, one failure for one input. In this process, with a fake model."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgessd import Detector
from edgessd.cli.app import app
from edgessd.io.video import VideoFile, VideoWriter
from edgessd.runtimes import FakeRuntime

STAMPS = [0.0, 0.1, 0.2, 1.5, 1.533, 1.567]  # no fixed rate


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [("cat", 0.9, (0.1, 0.2, 0.5, 0.8))]
    monkeypatch.setattr(Detector, "load", lambda *_, **__: Detector(FakeRuntime(answer, classes=("cat", "dog"))))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pytest.importorskip("av")
    path = tmp_path / "screen.mkv"
    with VideoWriter(path, fps=10, size=(64, 48), pixel_aspect=Fraction(64, 45)) as video:
        for number, stamp in enumerate(STAMPS):
            video.write(np.full((48, 64, 3), 30 * number, np.uint8), stamp)
    return path


def detect(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


def test_times_of_the_stream_are_written_and_saved(clip: Path, tmp_path: Path) -> None:
    report, table = tmp_path / "o.json", tmp_path / "o.csv"
    result = detect(clip, "--json", report, "--csv", table, "--save", tmp_path / "out")
    assert result.exit_code == 0, result.output
    times = [record["time"] for record in json.loads(report.read_text())["results"]]
    assert times == pytest.approx(STAMPS, abs=0.002)
    with table.open() as file:
        assert [float(row["time"]) for row in csv.DictReader(file)] == times
    with VideoFile(tmp_path / "out" / "screen.mp4") as video:
        assert [seconds for _, seconds in video] == pytest.approx(STAMPS, abs=0.002)
        assert video.info.pixel_aspect == Fraction(64, 45)


def test_a_damaged_video_is_one_input_and_keeps_its_frames(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    with VideoWriter(tmp_path / "cut.mkv", fps=10, size=(64, 48)) as video:
        for _ in range(20):
            video.write(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = (tmp_path / "cut.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    result = detect(tmp_path / "cut.mkv", "--json", tmp_path / "o.json")
    assert result.exit_code != 0 and "1 of 1 inputs failed" in str(result.exception)
    document = json.loads((tmp_path / "o.json").read_text())
    assert len(document["results"]) > 1 and len(document["failures"]) == 1


def test_pictures_have_no_time(tmp_path: Path) -> None:
    from edgessd import zoo

    detect(zoo.photos()[0], "--json", tmp_path / "o.json")
    assert "time" not in json.loads((tmp_path / "o.json").read_text())["results"][0]
