"""Every text file that a user writes, as Windows writes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgessd._cv2 import cv2
from edgessd._text import decode, decode_lines, read_lines, read_text
from edgessd.apps.camera.mqtt_address import MqttAddress
from edgessd.apps.camera.settings import Settings
from edgessd.classes.label_files import class_names
from edgessd.datasets.load import load_dataset, read_classes
from edgessd.errors import InputError
from edgessd.model_file import read_spec, read_spec_json
from edgessd.options.toml import read_toml
from edgessd.zoo import resolve_model

FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode(),
    "mark": lambda text: text.encode("utf-8-sig"),
    "windows": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "old-mac": lambda text: text.replace("\n", "\r").encode(),
    "powershell": lambda text: b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le"),
    "utf-16-be": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}


@pytest.fixture(params=FORMS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORMS[request.param](text))
        return path

    return write


TEXTS = st.text(st.characters(exclude_characters="\r\ufeff", exclude_categories=["Cs"]))


@given(text=TEXTS, form=st.sampled_from([*FORMS]))
def test_all_forms_are_the_same_text(text: str, form: str) -> None:
    data = FORMS[form](text)
    assert decode(data) == text
    for size in (2, 7, 1000):
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        if size > 2 or form not in ("mark", "windows"):  # the mark comes whole in the first piece
            assert list(decode_lines(pieces)) == text.split("\n")


def test_files(write: Any) -> None:
    path = write("list.txt", "größe 1.jpg\n\n  b.jpg \n")
    assert read_text(path) == "größe 1.jpg\n\n  b.jpg \n" and read_lines(path) == ["größe 1.jpg", "b.jpg"]


def test_what_is_no_text_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xd8\xff")
    for path in (tmp_path / "a", tmp_path / "missing", tmp_path, "a\0b"):
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_text(path)
        assert "\n" not in str(caught.value)


def test_labels_passwords_options_and_specs(write: Any) -> None:
    assert class_names(write("labels.txt", "cat\ndog\n")) == ("cat", "dog")
    assert read_classes(write("classes.txt", "cat\ndog\n")) == ["cat", "dog"]
    password = write("password", "größe \n")
    assert MqttAddress.parse("mqtt://me@host/t", source="0", password_file=password).password == "größe "
    spec = read_spec(resolve_model())
    assert read_spec_json(write("spec.json", spec.to_json())) == spec
    assert read_toml(write("camera.toml", 'source = "größe.mp4"\nnumbers = false\n'), Settings)["numbers"] is False


def test_data_sets(write: Any, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "images" / "train"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((10, 20, 3), np.uint8))
    write("set/data.yaml", "path: .\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n")
    write("set/labels/train/a.txt", "1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.5 1\n")
    write("set/labels/train/b.txt", "\n")
    chosen = write("chosen.txt", "a.png\n\nb.png\n")
    found = load_dataset(tmp_path / "set", str(chosen))
    assert found.classes == ("cat", "dog") and [len(sample) for sample in found.samples] == [2, 0]
    assert found.samples[0].boxes.tolist() == [[5, 2.5, 15, 7.5], [0, 0, 10, 10]]
