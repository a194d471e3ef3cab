"""No command writes a result over a file that it reads; it says so before any work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgessd._cv2 import cv2
from edgessd.cli.app import app
from edgessd.errors import EdgeSSDError
from edgessd.io.files import check_writable
from edgessd.zoo import resolve_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small COCO set, a model file and a checkpoint (of nothing: it is never read)."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    (tmp_path / "model.onnx").write_bytes(resolve_model().read_bytes())
    (tmp_path / "best.safetensors").write_bytes(b"no checkpoint")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes(b"no checkpoint")
    (tmp_path / "link.png").symlink_to("a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "detect a.png --json a.png",
        "detect a.png --json link.png",
        "detect a.png --model model.onnx --csv model.onnx",
        "detect a.png --json b --csv ./b",
        "evaluate model.onnx --data labels.json --images . --json labels.json",
        "evaluate model.onnx --data labels.json --images . --save-detections a.png",
        "doctor --data labels.json --images . --sheet a.png",
        "doctor --data labels.json --images . --json labels.json",
        "info model.onnx --priors -o model.onnx",
        "benchmark model.onnx --json model.onnx",
        "benchmark model.onnx --images . --plot a.png",
        "export best.safetensors -o best.safetensors",
        "quantize best.safetensors --calibration . -o best.safetensors",
    ],
)
def test_a_result_takes_the_place_of_nothing_that_is_read(line: str, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = CliRunner().invoke(app, line.split())
    assert isinstance(done.exception, EdgeSSDError), done.output
    text = str(done.exception)
    assert "one of the files to be read" in text or "named for two results" in text, text
    assert {path: path.read_bytes() for path in before} == before
    assert {path for path in folder.iterdir() if path.is_file()} == set(before)


def test_results_may_be_written_again(folder: Path) -> None:
    for _ in range(2):
        arguments: list[Any] = ["detect", "a.png", "--json", "out.json", "--csv", "out.csv", "--save", "out"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a-2.png", "a.png"]


def test_a_result_on_the_terminal_is_alone_there(folder: Path) -> None:
    done = CliRunner().invoke(app, ["detect", "a.png", "--json", "-", "--csv", "out.csv"])
    assert json.loads(done.stdout)["results"][0]["source"] == "a.png"
    assert "a.png" in done.stderr
    assert CliRunner().invoke(app, ["detect", "a.png", "--csv", "-"]).stdout.startswith("source,")
    assert not (folder / "-").exists()


@pytest.mark.parametrize("line", ["detect a.png --json - --csv -", "evaluate --data labels.json --json -"])
def test_what_cannot_go_to_the_terminal(line: str, folder: Path) -> None:
    with pytest.raises(EdgeSSDError, match=r"would mix on the terminal|- is no file"):
        CliRunner().invoke(app, line.split(), catch_exceptions=False)
    assert not (folder / "-").exists()


def test_a_result_may_lie_in_the_folder_that_the_command_makes(folder: Path) -> None:
    line = "detect a.png --save new --json new/out.json --csv new/out.csv"
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0
    assert {path.name for path in (folder / "new").iterdir()} == {"a.png", "out.json", "out.csv"}
    assert check_writable(Path("plots/figures.json"), made=Path("plots/")).parent.is_dir()
    with pytest.raises(EdgeSSDError, match="there is no folder"):
        check_writable(Path("other/figures.json"), made=Path("plots"))
