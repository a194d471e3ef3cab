"""The blocks of the documentation that other people's programs run, each where only its client is installed."""

import os
import shutil
import subprocess

import pytest

from edgessd import zoo
from edgessd._cv2 import cv2

from ..docs.blocks import all_blocks
from .clients import CLIENTS
from .environments import environment, program
from .files import make
from .outcome import MissingError

BLOCKS = [block for block in all_blocks() if block.kind == "client"]
# What lies where a page has these names.
FILES = {
    "web.onnx": "int8-nms.onnx",
    "phone.tflite": "int8-nms.tflite",
    "nms.xml": "int8-nms.xml",
    "opencv.onnx": "float-opencv.onnx",
}


def test_every_block_names_a_client():
    named = {"onnxruntime", "MediaPipe Tasks", "LiteRT Interpreter", "OpenVINO", "OpenCV DetectionModel"}
    assert named <= {block.client for block in BLOCKS} <= {client.name for client in CLIENTS}


def furnish(folder, text):
    """Put the model files that a text names there. Raises MissingError."""
    for name, source in FILES.items():
        if name in text:
            path = make(source)
            for part in [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]:
                shutil.copyfile(part, (folder / name).with_suffix(part.suffix))


@pytest.mark.slow
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.name}-{block.client}")
def test_a_block_finds_the_cat_without_edgessd(tmp_path, block, grey):
    client = next(client for client in CLIENTS if client.name == block.client)
    try:
        home = environment(client.needs, client.python)
        furnish(tmp_path, block.text)
    except MissingError as reason:
        pytest.skip(str(reason))
    (photo,) = (path for path in zoo.photos() if path.stem == "chelsea")
    picture = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
    assert cv2.imwrite(str(tmp_path / "photo.jpg"), picture)
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [program(home), "-c", block.to_run()], cwd=tmp_path, env=found, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{block.name}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    if not grey:
        assert "cat" in done.stdout or "\n15 " in f"\n{done.stdout}", done.stdout  # COCO's class 15 of 80
