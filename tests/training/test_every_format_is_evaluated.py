"""`edgessd evaluate` on what a training leaves behind and on the files made from it."""

import json

import pytest
import typer
from typer.testing import CliRunner

from edgessd.cli.evaluate import evaluate
from edgessd.training import make_config, train

pytestmark = pytest.mark.slow


def run(model, data, out, *more):
    app = typer.Typer()
    app.command()(evaluate)
    words = [model, "--data", data, "--split", "val", "--metric", "voc", "--threads", 1, "--json", out, *more]
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(word) for word in words])
    assert result.exception is None, result.output
    return json.loads(out.read_text())


def test_checkpoint_onnx_and_tflite_measure_alike(voc, start, tmp_path):
    pytest.importorskip("litert_torch")
    from edgessd.export.checked import export_checked

    settings = {"epochs": 30, "batch_size": 4, "workers": 0, "warmup": 2, "augment": "none", "ema": 0.8}
    settings |= {"optimizer": "adamw", "lr": 3e-3, "split": "train", "val_split": "val", "eval_every": 30}
    run_config = make_config(data=str(voc), out=str(tmp_path / "run"), init=str(start), progress=False, **settings)
    trained = train(run_config, say=lambda line: None)
    files = {"safetensors": trained.best}
    for suffix in ("onnx", "tflite"):
        files[suffix] = tmp_path / f"model.{suffix}"
        export_checked(trained.best, files[suffix], compare=False)
    (voc / "JPEGImages/005.png").write_bytes(b"\x89PNG\r\n\x1a\n")  # borne by all of them
    found = {suffix: run(path, voc, tmp_path / f"{suffix}.json", "--max-failed", 0.2) for suffix, path in files.items()}
    figures = [document["figures"]["mAP"] for document in found.values()]
    assert figures[0] > 50
    assert figures == pytest.approx([figures[0]] * 3, abs=0.5)
    assert all("005.png" in document["unreadable"][0] for document in found.values())
