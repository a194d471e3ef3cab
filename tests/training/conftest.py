"""Small labelled sets and a small network, so that training tests take seconds."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgessd._cv2 import cv2

COLORS = {"blue": (220, 60, 40), "red": (40, 40, 220)}
SMALL = "timm:mobilenetv3_small_050"


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are faster on one thread, and the sums come out the same each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_side_shows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and TensorBoard take longer than the training here; tests that want them say `side_shows`."""
    if "side_shows" not in request.keywords:
        import edgessd.training.engine as engine
        import edgessd.training.record as record

        monkeypatch.setattr(record, "draw_curves", lambda *_: None)
        monkeypatch.setattr(engine, "Board", lambda *_: None)


def write_voc(folder: Path, count: int = 8, *, seed: int = 0, size: tuple[int, int] = (160, 200)) -> Path:
    """Write a VOC folder with coloured rectangles on grey; `train` and `val` are the same pictures."""
    rng = np.random.default_rng(seed)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    height, width = size
    for number in range(count):
        image = np.full((height, width, 3), 120, np.uint8)
        image += rng.integers(0, 30, image.shape, dtype=np.uint8)
        objects = ""
        for which, (name, color) in enumerate(COLORS.items()):
            if number % 4 == which + 2:  # some pictures have one object only
                continue
            half = width // 2
            w, h = rng.integers(40, 80, 2)
            x = int(rng.integers(0, half - w)) + which * half
            y = int(rng.integers(0, height - h))
            image[y : y + h, x : x + w] = color
            objects += (
                f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
                f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            )
        cv2.imwrite(str(folder / f"JPEGImages/{number:03}.png"), image)
        xml = f"<annotation><filename>{number:03}.png</filename>{objects}</annotation>"
        (folder / f"Annotations/{number:03}.xml").write_text(xml)
    names = "".join(f"{number:03}\n" for number in range(count))
    for split in ("train", "val"):
        (folder / f"ImageSets/Main/{split}.txt").write_text(names)
    return folder


@pytest.fixture
def make_voc():
    return write_voc


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "data")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network, so that every run starts from the same weights and builds quickly."""
    from edgessd.models import create_model, save_checkpoint

    torch.manual_seed(0)
    model, spec = create_model("ssdlite", classes=("blue", "red"), size=160, backbone=SMALL, receptive_fields=False)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_checkpoint(path, model, msgspec.structs.replace(spec, name="small"))
    return path
