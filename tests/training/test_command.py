import shlex
import sys
import types
from pathlib import Path

import pytest
import typer

from edgessd.cli.run import run
from edgessd.cli.train import train
from edgessd.training.state import load_state


@pytest.fixture
def command(monkeypatch, capsys):
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(train)
    app.command("other")(lambda: None)
    module = types.ModuleType("training_command")
    module.app = app
    monkeypatch.setitem(sys.modules, "training_command", module)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["edgessd", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run("training_command")
        return ended.value.code or 0, capsys.readouterr()

    return call


def test_train_then_resume(command, voc, start, tmp_path):
    out = tmp_path / "run"
    common = ["--data", voc, "--split", "train", "--val-split", "none", "--init", start, "--batch-size", 4]
    code, said = command(*common, "--out", out, "--epochs", 1, "--workers", 0, "--no-crop", "--augment", "flip")
    assert code == 0, said.err
    assert "edgessd export" in said.out
    code, said = command("--resume", "--out", out, "--workers", 0)
    assert code == 0, said.err
    code, said = command("--resume", "--out", out, "--lr", 0.1)
    assert code == 2
    assert "lr: None -> 0.1" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "nowhere", "--epochs", "0"], "epochs 0"),
        (["--resume", "--out", "nowhere"], "nothing to resume"),
    ],
)
def test_mistakes_are_one_line(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = command(*arguments)
    assert code == 2
    assert message in said.err and said.err.count("\n") == 1


@pytest.mark.slow
def test_the_documented_overfit_command_learns_eight_pictures(command, shared, tmp_path):
    guide = (Path(__file__).parents[2] / "docs/training.md").read_text()
    [typed] = [block for block in guide.split("```") if "eight.txt" in block]
    words = shlex.split(typed[typed.index("edgessd train") :].replace("\\\n", " "))[2:]
    data = shared / "data/bccd"
    names = (data / "ImageSets/Main/train.txt").read_text().splitlines()[:8]
    (tmp_path / "eight.txt").write_text("\n".join(names) + "\n")
    places = {
        "bccd": data,
        "eight.txt": tmp_path / "eight.txt",
        "ssdlite_mobilenet_v2_coco.safetensors": shared / "weights/ssdlite_mobilenet_v2_coco.safetensors",
        "runs/eight": tmp_path / "run",
    }
    code, said = command(*(places.get(word, word) for word in words))
    assert code == 0, said.err
    assert load_state(tmp_path / "run").progress.best > 0.95
