"""A tiny network is trained for two epochs on a dozen pictures: what the run leaves behind, not what it learns."""

import csv

import msgspec
import pytest
import torch

from edgessd.errors import OptionError
from edgessd.models.checkpoint import save_checkpoint
from edgessd.quantization import load_quantized
from edgessd.quantization.qat import QatConfig, qat


@pytest.fixture(scope="module")
def config(tmp_path_factory, small, picture_folder):
    folder = tmp_path_factory.mktemp("qat")
    save_checkpoint(folder / "float.safetensors", *small)
    return QatConfig(
        init=str(folder / "float.safetensors"),
        out=str(folder / "run"),
        calibration=str(picture_folder),
        unlabelled=str(picture_folder),
        batch_size=6,
        epochs=2,
        lr=1e-4,
        warmup=0,
        threads=1,
    )


@pytest.fixture(scope="module")
def finished(config):
    return qat(config, say=lambda line: None)


def test_a_run_leaves_checkpoints_that_can_be_exported_and_a_log(finished):
    best, last = load_quantized(finished.best), load_quantized(finished.last)
    assert (best.recipe.rounding, last.recipe.rounding) == ("adaptive", "nearest")
    assert best.spec.quantization.method == "qat"
    assert best.converted(batch=1, fold=True)(torch.zeros(1, 3, 160, 160))[0].shape[0] == 1
    rows = list(csv.DictReader((finished.best.parent / "log.csv").read_text().splitlines()))
    assert [float(row["epoch"]) for row in rows] == [0, 1, 2]
    assert all(float(row["rms_boxes"]) > 0 for row in rows)


def test_training_moves_the_weights(finished):
    assert finished.history[1]["loss"] > 0
    weights = [dict(load_quantized(each).graph.named_parameters()) for each in (finished.best, finished.last)]
    assert any(not torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_nothing_had_been(config, finished, tmp_path, monkeypatch):
    config = msgspec.structs.replace(config, out=str(tmp_path / "run"))
    from edgessd.quantization import qat as module

    train = module._Run._train_epoch

    def once(run, interrupt):
        if run.epoch == 1:
            raise KeyboardInterrupt
        return train(run, interrupt)

    monkeypatch.setattr(module._Run, "_train_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        qat(config, say=lambda line: None)
    monkeypatch.setattr(module._Run, "_train_epoch", train)
    resumed = qat(config, resume=True, say=lambda line: None)
    expected = load_quantized(finished.last).graph.state_dict()
    found = load_quantized(resumed.last).graph.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(OptionError, match=r"other arguments .lr: 0.0001 -> 0.1."):
        qat(msgspec.structs.replace(config, lr=0.1), resume=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"unlabelled": ""}, "nothing to learn from"),
        ({"out": ""}, "holds a run already"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(config, finished, changes, says):
    changed = msgspec.structs.replace(config, **({**changes, "out": config.out} if "out" in changes else changes))
    with pytest.raises(OptionError, match=says):
        qat(changed)
