import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edgessd import zoo
from edgessd.cli.evaluate import evaluate
from edgessd.errors import InputError
from edgessd.io.images import load_image

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
    assert first.output.split()[-8:] == again.output.split()[-8:]


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
