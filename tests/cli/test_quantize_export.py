"""The commands from a float checkpoint to a file for a device, as a user gives them."""

import json

import pytest

pytest.importorskip("torchao")

from edgessd.models.checkpoint import save_checkpoint

from ..quantization.conftest import picture_folder, small  # noqa: F401
from .test_commands import edgessd, fails


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, small):  # noqa: F811
    path = tmp_path_factory.mktemp("commands") / "float.safetensors"
    save_checkpoint(path, *small)
    return path


@pytest.fixture(scope="module")
def quantized(checkpoint, picture_folder):  # noqa: F811
    done = edgessd("quantize", checkpoint, "--calibration", picture_folder, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "distance to the float network: boxes" in done.stdout
    return checkpoint.with_name("float.int8.safetensors")


def test_a_checkpoint_becomes_an_int8_file_that_detects(tmp_path, quantized, picture_folder):  # noqa: F811
    file = tmp_path / "model.onnx"
    # A network with random weights scores everything alike: fewer detections agree than of a trained one.
    done = edgessd("export", quantized, "-o", file, "--images", picture_folder, "--min-agreement", 0.5)
    assert done.returncode == 0, done.stderr
    assert "relative RMS against the checkpoint on 12 pictures" in done.stdout
    report = json.loads((tmp_path / "model.onnx.verify.json").read_text())
    assert report["failures"] == [] and report["integer_share"] >= 0.95
    done = edgessd("info", file, "--validate")
    assert done.returncode == 0, done.stdout
    assert "int8" in done.stdout
    picture = sorted(picture_folder.iterdir())[0]
    assert edgessd("detect", picture, "--model", file).returncode == 0


@pytest.mark.slow
def test_sensitivity_writes_a_table_and_a_picture(tmp_path, checkpoint, picture_folder):  # noqa: F811
    done = edgessd(
        *("quantize", checkpoint, "--calibration", picture_folder, "--limit", 2, "--sensitivity", tmp_path / "s"),
        *("-o", tmp_path / "int8.safetensors", "--rounding", "nearest", "--no-equalize"),
    )
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "s" / "table.json").read_text())
    assert {row["kind"] for row in table} == {"weights", "activations"}
    assert (tmp_path / "s" / "layers.png").stat().st_size > 10_000


def test_bad_input_is_one_line(tmp_path, checkpoint, quantized, picture_folder):  # noqa: F811
    empty = tmp_path / "empty"
    empty.mkdir()
    fails(edgessd("quantize", checkpoint), "--calibration")
    fails(edgessd("quantize", checkpoint, "--calibration", empty), "no picture")
    fails(edgessd("quantize", quantized, "--calibration", picture_folder), "quantised already")
    fails(edgessd("export", checkpoint, "-o", tmp_path / "none" / "m.onnx"), "there is no folder")
    fails(edgessd("export", checkpoint, "-o", tmp_path / "m.onnx", "--precision", "int8"), "edgessd quantize")
    fails(
        edgessd("qat", "--init", checkpoint, "--out", tmp_path / "q", "--calibration", picture_folder), "--unlabelled"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]
