import inspect
import shlex
import sys
import types
from pathlib import Path

import msgspec
import pytest
import typer

from edgessd.cli.run import run
from edgessd.cli.train import train
from edgessd.options import describe, read_toml
from edgessd.training.config import TrainConfig, make_config
from edgessd.training.state import load_state

# Said on the command line in a word of their own; what only a file or Python can give; what is no setting of a run.
OWN_WORDS = {"no_photometric", "no_expand", "no_crop", "no_flip", "full_vgg"}
FILE_ONLY = {
    "photometric",
    "expand",
    "crop",
    "flip",
    "backbone_options",
    "alpha",
    "negative_ratio",
    "iou_threshold",
    "progress",
}
NO_SETTINGS = {"resume", "config", "context"}


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
    # What the run has written down is a file for --config, and says the same.
    assert make_config(**read_toml(out / "config.toml", TrainConfig)) == make_config(
        **{**msgspec.structs.asdict(load_state(out).config), "out": str(out)}
    )
    code, said = command("--config", out / "config.toml")
    assert (code, said.err.count("\n")) == (2, 1) and "holds a run already" in said.err
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
        (["--config", "none.toml"], "none.toml: No such file"),
        (["--config", "bad.toml"], "bad.toml: lr: expected `float` > 0.0"),
        (["--config", "typo.toml"], "typo.toml: there is no option epoch (did you mean 'epochs'"),
        (["--config", "good.toml"], "/data"),
        (["--config", "good.toml", "--epochs", "0"], "epochs 0"),
    ],
)
def test_mistakes_are_one_line(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("lr = 0.0")
    (tmp_path / "typo.toml").write_text("epoch = 3")
    (tmp_path / "good.toml").write_text('data = "./data"\nepochs = 3\nclasses = ["cat"]\n')
    (tmp_path / "data").mkdir()
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


def test_the_command_has_the_options_of_the_config_with_their_defaults():
    defaults = {name: each.default for name, each in inspect.signature(train).parameters.items()}
    fields = {field.attribute: field.default for field in describe(TrainConfig)}
    assert set(defaults) - OWN_WORDS - NO_SETTINGS == set(fields) - FILE_ONLY
    for name in set(defaults) & set(fields) - {"data", "out", "classes"}:
        assert defaults[name] == fields[name], name
