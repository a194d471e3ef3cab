import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from edgessd import Detections, Detector, ModelSpec, __version__, zoo
from edgessd._cv2 import cv2
from edgessd.classes.coco import COCO_CLASSES, COCO_IDS
from edgessd.io.video import VideoFile


def edgessd(*arguments, cwd=None):
    command = [sys.executable, "-m", "edgessd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def fails(done, *parts):
    """Exit code 2, one line on stderr with these parts, no traceback."""
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for part in parts:
        assert part in done.stderr


def test_detect_prints_a_table_and_writes_pictures_json_and_csv(tmp_path):
    done = edgessd(
        "detect",
        *zoo.photos(),
        "--save",
        tmp_path / "out",
        "--json",
        tmp_path / "a.json",
        "--csv",
        tmp_path / "a.csv",
        "--timings",
    )
    assert done.returncode == 0, done.stderr
    assert "cat 0.9" in done.stdout
    assert "postprocess" in done.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["model"] == zoo.DEFAULT_MODEL
    assert document["failures"] == []
    assert len(document["results"]) == 4
    assert (tuple(document["classes"]), tuple(document["category_ids"])) == (COCO_CLASSES, COCO_IDS)
    detector = Detector.load()
    for photo, result in zip(zoo.photos(), document["results"], strict=True):
        found, stored = detector(photo), Detections.from_dict(result, document["classes"])
        assert found.boxes.tobytes() == stored.boxes.tobytes() and found.scores.tobytes() == stored.scores.tobytes()
        assert (found.names, found.classes) == (stored.names, stored.classes)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    objects = [found for result in document["results"] for found in result["objects"]]
    assert [row["name"] for row in rows] == [found["name"] for found in objects]
    assert "cat" in {row["name"] for row in rows}
    for photo in zoo.photos():
        drawn = cv2.imread(str(tmp_path / "out" / photo.name))
        original = cv2.imread(str(photo))
        assert drawn.shape == original.shape
        assert (drawn != original).any(axis=2).mean() > 0.005


def test_detect_goes_on_past_broken_pictures_and_lists_them_at_the_end(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_text("text, not a picture")
    (folder / "c.jpg").write_bytes(zoo.photos()[0].read_bytes()[:5000])
    cv2.imwrite(str(folder / "b.png"), cv2.imread(str(zoo.photos()[0].parent / "chelsea.png")))
    done = edgessd("detect", folder, "--json", tmp_path / "a.json")
    assert done.returncode == 2
    assert "cat" in done.stdout
    assert "2 of 3 inputs failed" in done.stderr
    assert "a.jpg" in done.stderr
    assert "c.jpg" in done.stderr
    document = json.loads((tmp_path / "a.json").read_text())
    assert len(document["results"]) == 1
    assert len(document["failures"]) == 2


def test_detect_in_a_video_writes_a_video(tmp_path):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (451, 300))
    cat = cv2.imread(str(zoo.photos()[0].parent / "chelsea.png"))
    for _ in range(5):
        writer.write(cat)
    writer.release()
    done = edgessd("detect", clip, "--save", tmp_path / "out", "--classes", "cat")
    assert done.returncode == 0, done.stderr
    assert "5 frames; per frame: cat 1.0" in " ".join(done.stdout.replace("│", " ").split())
    (saved,) = (tmp_path / "out").iterdir()  # .mp4, without PyAV .webm
    with VideoFile(saved) as video:
        assert [seconds for _, seconds in video] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.002)


def test_saving_replaces_nothing_that_was_there(tmp_path):
    cat = (zoo.photos()[0].parent / "chelsea.png").read_bytes()
    first, second = tmp_path / "x", tmp_path / "y"
    first.mkdir()
    second.mkdir()
    for path in (first / "a.png", second / "a.png", first / "b.gif", first / "b.jpg", first / "old.json"):
        path.write_bytes(cat)
    (first / "c.png").symlink_to(second / "a.png")
    (second / "c.png").write_bytes(cat)
    there = {path: path.read_bytes() for folder in (first, second) for path in folder.iterdir()}
    done = edgessd("detect", second / "a.png", first, second / "c.png", "--save", first)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in there} == there and (first / "c.png").is_symlink()
    new = {path.name for path in first.iterdir()} - {path.name for path in there}
    assert new == {"a-2.png", "a-3.png", "b-2.jpg", "b-3.jpg", "c-2.png", "c-3.png"}
    for option in ("--json", "--csv"):
        fails(edgessd("detect", first, option, first / "a.png"), "a.png is one of the files to be read")
    fails(edgessd("detect", first, "--json", "same", "--csv", tmp_path / "same", cwd=tmp_path), "named for two results")
    assert {path: path.read_bytes() for path in there} == there


def test_two_sources_of_one_name_get_two_files(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((20, 20, 3), np.uint8))
    done = edgessd("detect", tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", "--save", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["detect", "missing.jpg"], ["missing.jpg"]),
        (["detect", "PHOTO", "--model", "edgessd-coko"], ["no model 'edgessd-coko'", "did you mean"]),
        (["detect", "PHOTO", "--model", "missing.onnx"], ["no model file missing.onnx"]),
        (["detect", "PHOTO", "--model", "PHOTO"], ["not a model file"]),
        (["detect", "PHOTO", "--classes", "ctt"], ["no class 'ctt'", "'cat'"]),
        (["detect", "PHOTO", "--classes", ","], ["classes names none"]),
        (["detect", "PHOTO", "--score-threshold", "7"], ["score_threshold 7"]),
        (["detect", "PHOTO", "--threads", "0"], ["at least 1"]),
        (["detect", "PHOTO", "--json", "no/such/folder/a.json"], ["folder"]),
        (["detect", "PHOTO", "--spec", "missing.json"], ["missing.json cannot be read"]),
        (["info", "--priors", "--rule", "ssd30-paper"], ["did you mean 'ssd300-paper'"]),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, arguments, parts):
    photo = str(zoo.photos()[0])
    fails(edgessd(*[photo if argument == "PHOTO" else argument for argument in arguments], cwd=tmp_path), *parts)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_exit_code_2():
    assert edgessd("detect", "--nonsense").returncode == 2


def test_debug_shows_the_traceback():
    done = edgessd("detect", "missing.jpg", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_info_and_models():
    assert ModelSpec.from_json(edgessd("info", "--json").stdout).name == zoo.DEFAULT_MODEL
    text = edgessd("info").stdout
    for part in ("uint8 NHWC", "80: person", "1917", "sigmoid", "calibration"):
        assert part in text
    lines = [line.split("│") for line in edgessd("models").stdout.splitlines() if zoo.DEFAULT_MODEL in line]
    assert [cells[1].strip() for cells in lines] == [f"{zoo.DEFAULT_MODEL}.onnx*", f"{zoo.DEFAULT_MODEL}.tflite"]
    assert all(float(cells[6]) > 25 for cells in lines), "AP"
    assert float(lines[0][7]) > 0, "milliseconds"
    assert "ms here" not in edgessd("models", "--no-time").stdout
    assert edgessd("--version").stdout.strip() == f"edgessd {__version__}"


def test_a_checkpoint_becomes_an_onnx_file_with_the_same_answers(tmp_path):
    pytest.importorskip("torch")
    from edgessd.models import create_model
    from edgessd.models.checkpoint import save_checkpoint

    model, spec = create_model("ssdlite", backbone="timm:mobilenetv3_small_050", classes=["a", "b"], size=160)
    save_checkpoint(tmp_path / "a.safetensors", model.eval(), spec)
    done = edgessd("export", tmp_path / "a.safetensors", "-o", tmp_path / "a.onnx", "--batch", "1")
    assert done.returncode == 0, done.stderr
    image = zoo.photos()[0]
    first, second = (
        Detector.load(tmp_path / name, score_threshold=0.0, max_detections=20)(image)
        for name in ("a.safetensors", "a.onnx")
    )
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    fails(edgessd("export", tmp_path / "b.safetensors", "-o", tmp_path / "b.onnx"), "no such checkpoint")
    fails(edgessd("export", tmp_path / "a.safetensors", "-o", tmp_path / "b.onnx", "--batch", "x"), "'x'")
    fails(edgessd("export", tmp_path / "a.safetensors", "-o", tmp_path / "no" / "b.onnx"), "no folder")
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["19x19", "1,083", "1,917"]),
        (["--rule", "ssd300-paper"], ["38x38", "5,776", "8,732"]),
        (["--rule", "ssd512-caffe"], ["64x64", "24,564"]),
        (["--rule", "ssd300-inside"], ["of them lie inside"]),
    ],
)
def test_priors_are_printed_and_drawn(tmp_path, arguments, parts):
    picture = tmp_path / "priors.png"
    done = edgessd("info", "--priors", *arguments, "-o", picture)
    assert done.returncode == 0, done.stderr
    for part in parts:
        assert part in done.stdout
    sheet = cv2.imread(str(picture))
    assert sheet.shape[1] == 960
    assert (sheet != 255).any(axis=2).mean() > 0.05
