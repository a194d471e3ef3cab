import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgessd.errors import EdgeSSDError, InputError, OptionError
from edgessd.models import load_checkpoint
from edgessd.training import make_config, saved_config, train
from edgessd.training.state import load_state

QUICK = {
    "batch_size": 4,
    "workers": 0,
    "warmup": 2,
    "augment": "none",
    "val_split": "none",
    "split": "train",
    "progress": False,
}


def config(voc, out, start, **values):
    return make_config(**{"data": str(voc), "out": str(out), "init": str(start), **QUICK, **values})


def weights(out, name="last"):
    return load_checkpoint(Path(out) / f"{name}.safetensors")[0].state_dict()


def same(first, second, atol=0.0):
    return all(torch.allclose(first[key], second[key], rtol=0, atol=atol) for key in first)


def silent(_):
    pass


class StopError(Exception):
    """Ends a run at an update, as a crash would."""


def stop_at(number):
    def look(update, _):
        if update == number:
            raise StopError

    return look


def test_overfits(make_voc, start, tmp_path):
    voc = make_voc(tmp_path / "data", 8)
    lines = []
    run = config(
        voc,
        tmp_path / "run",
        start,
        epochs=45,
        lr=3e-3,
        optimizer="adamw",
        val_split="val",
        eval_every=45,
        ema=0.8,
    )
    result = train(run, say=lines.append)
    assert result.metric > 0.95
    assert result.history[-1]["loss"] < 0.3 * result.history[0]["loss"]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"best.safetensors", "last.safetensors", "state.safetensors", "log.csv"} <= names
    assert "edgessd evaluate" in lines[-1] and "best.safetensors" in lines[-1]
    spec = load_checkpoint(result.best)[1]
    assert spec.provenance.metrics["val/mAP_voc"] == pytest.approx(result.metric, abs=1e-3)
    rows = (tmp_path / "run/log.csv").read_text().splitlines()
    assert len(rows) == 46 and rows[0].startswith("epoch,update,lr,loss")


@pytest.mark.parametrize(
    ("stopped_at", "options"),  # in the middle of an epoch of two updates, and at its end
    [
        (3, {}),
        (4, {"optimizer": "adamw", "augment": "paper", "ema": 0.0, "accumulate": 2, "batch_size": 2}),
        (3, {"multi_scale": "160,192,224", "augment": "paper"}),
    ],
)
def test_resume_gives_the_weights_of_a_run_without_a_stop(voc, start, tmp_path, stopped_at, options):
    whole = config(voc, tmp_path / "whole", start, epochs=3, save_every=1, **options)
    train(whole, say=silent)
    broken = config(voc, tmp_path / "broken", start, epochs=3, save_every=1, **options)
    with pytest.raises(StopError):
        train(broken, say=silent, after_update=stop_at(stopped_at))
    assert load_state(tmp_path / "broken")[1].update < stopped_at  # the last update was lost
    result = train(broken, resume=True, say=silent)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    history = load_state(tmp_path / "whole")[1].history
    assert [row["loss"] for row in result.history] == pytest.approx([row["loss"] for row in history], rel=1e-6)


def test_workers_do_not_change_the_result(voc, start, tmp_path):
    for workers in (0, 2):
        train(config(voc, tmp_path / str(workers), start, epochs=1, augment="paper", workers=workers), say=silent)
    assert same(weights(tmp_path / "0"), weights(tmp_path / "2"))


def test_resume_with_changed_arguments_says_which(voc, start, tmp_path):
    train(config(voc, tmp_path / "run", start, epochs=1), say=silent)
    with pytest.raises(OptionError, match=r"lr: None -> 0\.1.*momentum: 0\.9 -> 0\.5"):
        train(config(voc, tmp_path / "run", start, epochs=1, lr=0.1, momentum=0.5, workers=1), resume=True)
    with pytest.raises(OptionError, match="holds a run already"):
        train(config(voc, tmp_path / "run", start, epochs=1))
    assert saved_config(tmp_path / "run").epochs == 1


def test_resume_without_a_run(voc, start, tmp_path):
    with pytest.raises(OptionError, match="nothing to resume"):
        train(config(voc, tmp_path / "run", start), resume=True)


def test_a_loss_that_is_no_number_stops_and_leaves_the_batch(voc, start, tmp_path):
    with pytest.raises(OptionError, match="no longer a number"):
        train(config(voc, tmp_path / "run", start, epochs=50, lr=1e12, clip=0, warmup=0), say=silent)
    [path] = (tmp_path / "run").glob("bad_batch_*.npz")
    with np.load(path, allow_pickle=False) as saved:
        assert saved["images_0"].shape == (4, 3, 160, 160) and saved["images_0"].dtype == np.uint8
        assert saved["paths_0"][0].endswith(".png")


def test_a_broken_picture_is_skipped_and_listed(make_voc, start, tmp_path):
    voc = make_voc(tmp_path / "data", 24)
    (voc / "JPEGImages/005.png").write_bytes((voc / "JPEGImages/005.png").read_bytes()[:500])
    lines = []
    train(config(voc, tmp_path / "run", start, epochs=2), say=lines.append)
    assert sum("005.png" in line for line in lines) == 1
    assert "005.png" in (tmp_path / "run/unreadable.txt").read_text()
    assert all(math.isfinite(row["loss"]) for row in load_state(tmp_path / "run")[1].history)


def test_too_many_broken_pictures_end_the_run(voc, start, tmp_path):
    (voc / "JPEGImages/005.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"1 of 8 pictures cannot be read, more than 5%"):
        train(config(voc, tmp_path / "run", start, epochs=1), say=silent)


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_pictures_than_a_batch(make_voc, start, tmp_path, count):
    result = train(config(make_voc(tmp_path / "data", count), tmp_path / "run", start, epochs=1), say=silent)
    assert math.isfinite(result.history[0]["loss"])


def test_all_objects_difficult(make_voc, start, tmp_path):
    voc = make_voc(tmp_path / "data", 4)
    for path in (voc / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    result = train(config(voc, tmp_path / "run", start, epochs=1, val_split="val"), say=silent)
    assert result.history[0]["loss"] == 0
    assert result.history[0]["mAP_voc"] is None
    learnt = train(config(voc, tmp_path / "learnt", start, epochs=1, difficult="train"), say=silent)
    assert learnt.history[0]["loss"] > 0


@pytest.mark.parametrize("loss", ["focal", "sigmoid"])
def test_other_losses_train(voc, start, tmp_path, loss):
    result = train(config(voc, tmp_path / "run", start, epochs=4, loss=loss, optimizer="adamw"), say=silent)
    assert load_checkpoint(result.last)[1].scores == "sigmoid"
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_multibox(voc, start, tmp_path):
    run = config(voc, tmp_path / "run", start, epochs=1, loss="multibox", class_agnostic=True, val_split="val")
    result = train(run, say=silent)
    spec = load_checkpoint(result.last)[1]
    assert spec.classes == ("object",) and spec.scores == "sigmoid"
    assert spec.defaults.max_detections == spec.defaults.max_candidates == 100


@pytest.mark.parametrize("norm", ["frozen", "folded", "reestimated"])
def test_norm_modes(voc, start, tmp_path, norm):
    result = train(config(voc, tmp_path / "run", start, epochs=1, norm=norm), say=silent)
    before, after = load_checkpoint(start)[0].state_dict(), weights(tmp_path / "run")
    assert after.keys() == before.keys()
    key = "backbone.stem.1.running_mean"
    assert torch.equal(before[key], after[key]) == (norm != "reestimated")
    assert math.isfinite(result.history[0]["loss"])


def test_frozen_backbone(voc, start, tmp_path):
    train(config(voc, tmp_path / "run", start, epochs=1, freeze_backbone=True), say=silent)
    before, after = load_checkpoint(start)[0].state_dict(), weights(tmp_path / "run")
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"extras", "head"}


def test_teacher_with_unlabelled_pictures(voc, start, tmp_path):
    run = config(
        voc,
        tmp_path / "run",
        start,
        epochs=2,
        teacher=str(start),
        unlabelled=str(voc / "JPEGImages"),
        unlabelled_batch=2,
    )
    result = train(run, say=silent)
    assert all(row["loss_distill"] > 0 for row in result.history)


def test_a_teacher_of_other_classes_is_refused(voc, start, tmp_path):
    with pytest.raises(OptionError, match="has other classes"):
        train(config(voc, tmp_path / "run", start, teacher=str(start), classes=["red"]), say=silent)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": "many"}, "batch_size 'many'"),
        ({"augment": "papr"}, "did you mean 'paper'"),
        ({"loss": "multibox"}, "class-agnostic"),
        ({"unlabelled": "pictures"}, "need a teacher"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_wrong_settings(values, message):
    with pytest.raises(OptionError, match=message):
        make_config(**{"data": "data", "out": "out", **values})


def test_no_network_given(voc, tmp_path):
    with pytest.raises(OptionError, match="which network"):
        train(make_config(data=str(voc), out=str(tmp_path / "run"), **QUICK))


def test_a_full_disk_leaves_the_old_state(voc, start, tmp_path, monkeypatch):
    import edgessd.training.state as state

    def full(update, _):
        if update == 3:

            def refuse(*_, **__):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(state, "save_file", refuse)

    run = config(voc, tmp_path / "run", start, epochs=3, save_every=1)
    with pytest.raises(EdgeSSDError, match="No space left"):
        train(run, say=silent, after_update=full)
    assert load_state(tmp_path / "run")[1].update == 2
    monkeypatch.undo()
    train(run, resume=True, say=silent)


SCRIPT = """
import json, sys, torch
from edgessd.training import make_config, train
torch.set_num_threads(1)
losses = []
values = json.loads(sys.argv[1])
look = lambda update, loss: losses.append(loss)
train(make_config(**values), resume=len(sys.argv) > 2, say=lambda line: None, after_update=look)
import os
if os.environ.get("RANK", "0") == "0":
    open(values["out"] + "/losses.json", "w").write(json.dumps(losses))
"""


def values_of(voc, out, start, **more):
    return json.dumps({"data": str(voc), "out": str(out), "init": str(start), **QUICK, "device": "cpu", **more})


@pytest.mark.slow
def test_killed_and_resumed(voc, start, tmp_path):
    script = tmp_path / "run.py"
    killer = SCRIPT.replace(
        "losses.append(loss)", "update == 5 and __import__('os').kill(__import__('os').getpid(), 9)"
    )
    script.write_text(SCRIPT)
    (tmp_path / "killer.py").write_text(killer)
    more = {"epochs": 4, "save_every": 2, "augment": "paper", "workers": 1}
    subprocess.run([sys.executable, script, values_of(voc, tmp_path / "whole", start, **more)], check=True)
    broken = values_of(voc, tmp_path / "broken", start, **more)
    assert subprocess.run([sys.executable, tmp_path / "killer.py", broken], check=False).returncode == -9
    subprocess.run([sys.executable, script, broken, "resume"], check=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(voc, start, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    more = {"epochs": 3, "norm": "frozen", "val_split": "val", "lr": 1e-3}
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, script, values_of(voc, one, start, **more)], check=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, script, values_of(voc, two, start, **more, batch_size=2)], check=True, env=environment)
    losses = [json.loads((folder / "losses.json").read_text()) for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert same(weights(one), weights(two), atol=1e-4)


def arguments_of(voc, out, start, **more):
    """The same settings as a user would type them."""
    values = {**json.loads(values_of(voc, out, start, **more)), "threads": 1}
    del values["progress"]
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    return ["train", *(word for pair in pairs for word in pair)]


@pytest.mark.slow
def test_accelerate_launch_of_the_command_equals_one_process(voc, start, tmp_path):
    """Two gloo processes, started as the guide says, against one with the same global batch."""
    one, two = tmp_path / "one", tmp_path / "two"
    more = {"epochs": 3, "norm": "frozen", "val_split": "val", "lr": 1e-3}
    # A configuration of the user's must not change what is launched.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")}
    # `--multi_gpu` is what starts processes, on a processor too: with `--cpu` there is one, whatever the number says.
    # Port 0 is any that is free.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0"]
    command = [sys.executable, "-m", "edgessd", *arguments_of(voc, one, start, **more)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    command = [*launch, "-m", "edgessd", *arguments_of(voc, two, start, **more, batch_size=2)]
    said = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert "2 processes, 4 pictures in each step of them all" in said.stdout
    assert said.stdout.count("done: ") == 1  # one process talks
    losses = [[row["loss"] for row in load_state(folder).progress.history] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    metrics = [[row["mAP_voc"] for row in load_state(folder).progress.history] for folder in (one, two)]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-3)
    assert same(weights(one), weights(two), atol=1e-4)


@pytest.mark.slow
def test_a_signal_saves_and_the_run_goes_on(voc, start, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        SCRIPT.replace("losses.append(loss)", "update == 3 and __import__('os').kill(__import__('os').getpid(), 15)")
    )
    run = values_of(voc, tmp_path / "run", start, epochs=3)
    assert subprocess.run([sys.executable, script, run], check=False).returncode == 0
    assert load_state(tmp_path / "run")[1].update == 4  # the update in which the signal was noticed
    assert (tmp_path / "run/last.safetensors").is_file()
    (tmp_path / "again.py").write_text(SCRIPT)
    subprocess.run([sys.executable, tmp_path / "again.py", run, "resume"], check=True)
    assert load_state(tmp_path / "run")[1].epoch == 3
