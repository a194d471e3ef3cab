import json
import subprocess
import sys

import pytest

from edgessd import Detector, zoo
from edgessd.apps.benchmark.records import read_report
from edgessd.apps.benchmark.settings import Settings
from edgessd.cli import benchmark as command

SHORT = ("--runs", "3", "--seconds", "0.2", "--threads", "1", "--runtimes", "onnx")


def edgessd(*arguments, cwd=None):
    line = [sys.executable, "-m", "edgessd", "benchmark", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=180, cwd=cwd)


@pytest.fixture
def labelled(tmp_path):
    """A COCO set of the bundled photos, whose objects are what the bundled model finds with good scores."""
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    images, objects = [], []
    detector = Detector.load(threads=1, score_threshold=0.5)
    for number, photo in enumerate(zoo.photos(), 1):
        (folder / photo.name).write_bytes(photo.read_bytes())
        found = detector(photo)
        width, height = found.image_size
        images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
        for entry in found.to_coco(number):
            area = entry["bbox"][2] * entry["bbox"][3]
            objects.append({**entry, "id": len(objects) + 1, "iscrowd": 0, "area": area})
    numbers = zip(detector.spec.category_ids, detector.spec.classes, strict=True)
    categories = [{"id": number, "name": name} for number, name in numbers]
    document = {"images": images, "annotations": objects, "categories": categories}
    (folder / "annotations" / "instances_all.json").write_text(json.dumps(document))
    return folder


def test_the_bundled_model_with_accuracy_in_every_form(tmp_path, labelled):
    out = {name: tmp_path / f"a.{name}" for name in ("json", "csv", "md")}
    options = ["--json", out["json"], "--csv", out["csv"], "--markdown", out["md"], "--images", labelled]
    done = edgessd(*SHORT, *options, "--data", labelled / "annotations" / "instances_all.json", "--metric", "voc")
    assert done.returncode == 0, done.stderr
    report = read_report(out["json"])
    (row,) = report.rows
    assert row.status == "ok"
    assert row.accuracy["mAP"] > 90
    assert "mAP" in done.stdout
    assert zoo.DEFAULT_MODEL in out["csv"].read_text()
    assert f"{row.accuracy['mAP']:.1f}" in out["md"].read_text()
    again = edgessd(*SHORT, "--compare", out["json"])
    assert again.returncode == 0, again.stderr
    assert "changes since" in again.stdout


def test_a_broken_model_beside_a_good_one_is_a_row(tmp_path):
    (tmp_path / "cut.onnx").write_bytes(zoo.resolve_model().read_bytes()[:50_000])
    done = edgessd(zoo.DEFAULT_MODEL, tmp_path / "cut.onnx", *SHORT, "--json", tmp_path / "a.json")
    assert done.returncode == 0, done.stderr
    rows = read_report(tmp_path / "a.json").rows
    assert [row.status for row in rows] == ["ok", "failed"]
    assert "truncated or damaged" in rows[1].reason
    assert "failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["missing.onnx"], "no model file missing.onnx"),
        (["--runtimes", "onxx"], "did you mean 'onnx'"),
        (["--threads", "two"], "--threads takes numbers"),
        (["--batch", "0"], "--batch takes numbers from 1"),
        (["--images", "nowhere/*.jpg"], "no file matches"),
        (["--data", "nowhere"], "no data set nowhere"),
        (["--metric", "mAP"], "unknown metric"),
        (["--compare", "missing.json"], "missing.json cannot be read"),
        (["--json", "no/such/a.json"], "no folder"),
        (["--preset", "table"], "unknown preset"),
        (["--preset", "paper", "a.onnx"], "leave MODEL out"),
        (["--preset", "paper", "--yolox", "missing.onnx"], "no file missing.onnx"),
        (["--yolox", "missing.onnx"], "belongs to --preset"),
        (["--runtimes", "onnx:cuda"], "none of the 1 combinations could be measured"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, arguments, part):
    done = edgessd(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert part in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_ctrl_c_shows_what_was_measured_until_then(tmp_path, monkeypatch, capsys, make_row):
    rows = iter([make_row()])

    def measure(task, timeout):
        try:
            return next(rows)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(command, "measure_apart", measure)
    with pytest.raises(KeyboardInterrupt):
        command.run_benchmark(Settings(runtimes="cpu", threads="1", json_file=tmp_path / "a.json"))
    assert len(read_report(tmp_path / "a.json").rows) == 1
    assert "10.00" in capsys.readouterr().out
