from pathlib import Path

import pytest

from edgessd.training.config import TrainConfig
from edgessd.training.record import done_lines


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "evaluate: edgessd evaluate run/best.safetensors --data set\n"),
        ({"val_split": "val"}, "--data set --split val\n"),
        ({"val_data": "other"}, "--data other\n"),
        ({"val_split": "none"}, None),
    ],
)
def test_the_last_lines_name_commands_that_work(given, expected):
    lines = done_lines(Path("run/best.safetensors"), 0.5, TrainConfig(data="set", out="run", **given))
    assert lines.startswith("done: run/best.safetensors (mAP 50.0)\n")
    assert lines.endswith("export:   edgessd export run/best.safetensors -o run/best.onnx")
    assert expected in lines if expected else "evaluate" not in lines
