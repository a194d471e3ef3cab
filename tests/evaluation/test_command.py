import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from edgessd import Detector, _signals, zoo
from edgessd._cv2 import cv2
from edgessd.cli import options
from edgessd.cli.evaluate import evaluate
from edgessd.datasets import load_dataset
from edgessd.errors import InputError
from edgessd.evaluation import detect_all
from edgessd.evaluation import evaluate as evaluate_in_python
from edgessd.evaluation.protocols import PROTOCOLS
from edgessd.io.images import load_image
from edgessd.runtimes.fake import FakeRuntime

DATA = Path(__file__).parent.parent / "data"


def run(*arguments):
    app = typer.Typer()
    app.command()(evaluate)
    wide = {"COLUMNS": "160"}  # so that the table is not wrapped
    return CliRunner(env=wide).invoke(app, [str(each) for each in arguments])


@pytest.fixture
def data(tmp_path):
    """The stored truth as a COCO folder; the pictures are never opened when detections are stored."""
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    shutil.copy(DATA / "stored_truth.json", folder / "annotations/instances_val.json")
    (folder / "val").mkdir()
    for number in range(1, 41):
        (folder / "val" / f"{number:03d}.png").touch()
    return folder


def test_stored_detections_are_evaluated_without_a_model(data, tmp_path):
    out = tmp_path / "out.json"
    stored = DATA / "stored_detections.json"
    result = run("--data", data, "--split", "val", "--metric", "voc07", "--detections", stored, "--json", out)
    assert result.exception is None, result.output
    assert "aeroplane (model: airplane)" in result.output
    assert "mAP 56.62" in result.output  # pycocotools, see test_parity.py
    document = json.loads(out.read_text())
    assert document["figures"] == {"mAP": 56.624}
    assert document["model"] == "invented"


def test_plots_and_analysis_are_written(data, tmp_path):
    pytest.importorskip("matplotlib")
    stored = DATA / "stored_detections.json"
    result = run("--data", data, "--metric", "voc", "--detections", stored, "--plots", tmp_path / "p", "--limit", 20)
    assert result.exception is None, result.output
    assert {path.name for path in (tmp_path / "p").iterdir()} >= {
        "precision_recall.png", "confusion.png", "errors.png", "errors.json"
    }  # fmt: skip
    analysis = json.loads((tmp_path / "p/errors.json").read_text())
    assert set(analysis["groups"]) == {"all", "animals", "vehicles", "furniture"}
    assert "20 pictures" in result.output


def test_the_bundled_model_on_a_photo_and_its_detections_again(tmp_path):
    photo = Path(zoo.__file__).parent / "photos" / "chelsea.png"
    height, width = load_image(photo).shape[:2]
    truth = {
        "images": [{"id": 1, "file_name": photo.name}],
        "categories": [{"id": 1, "name": "Cat"}, {"id": 2, "name": "unicorn"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, width, height]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 9, 9]},
        ],
    }
    (tmp_path / "t.json").write_text(json.dumps(truth))
    common = ["--data", tmp_path / "t.json", "--images", photo.parent, "--metric", "voc"]
    first = run(*common, "--save-detections", tmp_path / "d.json", "--threads", 1)
    assert first.exception is None, first.output
    assert "mAP 100.00" in first.output
    assert "Cat (model: cat)" in first.output
    assert "does not have them: unicorn (1 objects)" in " ".join(first.output.split())
    again = run(*common, "--detections", tmp_path / "d.json")
    line = next(line for line in first.output.splitlines() if "mAP 100.00" in line)
    assert line in again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which data"),
        (["--data", "nowhere"], "no data set"),
        (["--data", "x", "--metric", "cooc"], "did you mean 'coco'"),
        (["model", "--data", "x", "--detections", "y"], "takes the place of a model"),
        (["--data", "x", "--json", "nowhere/x.json"], "no folder"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    error = run(*arguments).exception
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.fixture
def photos(tmp_path):
    """A labelled photo and a broken file, each said to hold one cat."""
    photo = Path(zoo.__file__).parent / "photos" / "chelsea.png"
    shutil.copy(photo, tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:500])
    truth = {
        "images": [{"id": 1, "file_name": "good.png"}, {"id": 2, "file_name": "broken.png"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 451, 300]} for n in (1, 2)],
    }
    (tmp_path / "t.json").write_text(json.dumps(truth))
    return tmp_path


def test_an_unreadable_picture_is_skipped_counted_and_named_at_the_end(photos, tmp_path):
    common = ["--data", photos / "t.json", "--images", photos, "--metric", "voc", "--threads", 1]
    result = run(*common, "--max-failed", 0.5, "--json", tmp_path / "out.json")
    assert result.exception is None, result.output
    assert "mAP 50.00" in result.output  # its cat was not found
    *_, named, counted = result.output.splitlines()
    assert named.startswith("skipped: ") and "broken.png" in named
    assert counted == "1 of 2 pictures could not be read and count as pictures without detections"
    [reason] = json.loads((tmp_path / "out.json").read_text())["unreadable"]
    assert "broken.png" in reason


def test_too_many_unreadable_pictures_give_no_figure(photos, tmp_path):
    out = tmp_path / "out.json"
    result = run("--data", photos / "t.json", "--images", photos, "--threads", 1, "--json", out)
    assert isinstance(result.exception, InputError)
    assert "1 of 2 pictures cannot be read, more than 5%" in str(result.exception)
    assert "broken.png" in result.output and "mAP" not in result.output
    assert not out.exists()


@pytest.fixture
def fake_set(tmp_path, monkeypatch):
    """Six tiny pictures with a cat each; the detector finds it, and beside it one for each threshold of a protocol."""
    boxes = [(0.1, 0.1, 0.6, 0.6), (0.1, 0.1, 0.6, 0.385), (0.7, 0.7, 0.9, 0.9)]
    answers = [("cat", score, box) for score, box in zip((0.9, 0.8, 0.02), boxes, strict=True)]
    runtime = FakeRuntime(answers, classes=("cat",))
    monkeypatch.setattr(options, "load_detector", lambda *_, **__: Detector(runtime))
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((20, 20, 3), np.uint8))
    truth = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(6)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [2, 2, 10, 10]} for n in range(6)],
    }
    (tmp_path / "t.json").write_text(json.dumps(truth))
    return runtime, ["--data", tmp_path / "t.json", "--images", tmp_path]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("metric", ["coco", "voc", "voc07"])
def test_python_and_the_command_measure_under_the_same_thresholds(fake_set, tmp_path, metric):
    if metric == "coco":
        pytest.importorskip("faster_coco_eval")
    runtime, common = fake_set
    truth = load_dataset(str(tmp_path / "t.json"), images=tmp_path)
    measured = evaluate_in_python(truth, Detector(runtime), metric)
    again = evaluate_in_python(truth, detect_all(Detector(runtime), truth, metric), metric)
    iou = PROTOCOLS[metric][1]
    found = detect_all(Detector(runtime), truth, metric)[0]
    assert found.scores.min() < 0.03 and len(found) == (3 if iou > 0.55 else 2)  # below 0.3, and doubles at IoU 0.57
    assert len(detect_all(Detector(runtime), truth, None)[0]) == 1
    result = run(*common, "--metric", metric, "--json", tmp_path / "o.json", "--save-detections", tmp_path / "d.json")
    assert result.exception is None, result.output  # the command closes the runtime, so it comes last
    document = json.loads((tmp_path / "o.json").read_text())
    assert measured.to_dict()["figures"] == again.to_dict()["figures"] == document["figures"]


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="signals of POSIX")
def test_a_signal_ends_it_with_the_figures_of_what_was_measured(fake_set, tmp_path, monkeypatch, capfd):
    runtime, common = fake_set
    before = runtime.run

    def stopping(batch):
        if runtime.calls == 3:
            signal.raise_signal(signal.SIGTERM)
        return before(batch)

    monkeypatch.setattr(runtime, "run", stopping)
    monkeypatch.setattr(_signals, "_counted", [-1e9])
    result = run(*common, "--metric", "voc", "--json", tmp_path / "o.json")
    assert result.exit_code == 130 and "first 4 of 6 pictures" in result.output
    document = json.loads((tmp_path / "o.json").read_text())
    assert document["stopped"] == {"measured": 4, "of": 6} and document["images"] == 4
