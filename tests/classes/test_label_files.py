import pytest

from edgessd.classes.label_files import class_names, label_lines
from edgessd.errors import OptionError


@pytest.mark.parametrize(
    ("text", "count", "names"),
    [
        ("cat\ndog\n", None, ("cat", "dog")),
        ("\ufeffcat \r\n dog\r\n\r\n", 2, ("cat", "dog")),
        ("0  person\n2  car\n", None, ("person", "N/A 1", "car")),
        ("0 person\n1: bicycle\n2, car", 4, ("person", "bicycle", "car", "N/A 3")),
        ("???\nperson\n???\ncar\n", 3, ("person", "N/A 1", "car")),
        ("background\nperson\n", 1, ("person",)),
        ("person\n\ncar\n", 3, ("person", "N/A 1", "car")),
        ("3 wise men\nowl\n", 2, ("3 wise men", "owl")),
        ("日本\nÅngström\n", 2, ("日本", "Ångström")),
    ],
)
def test_label_files(tmp_path, text, count, names):
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    assert class_names(path, count) == names


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no class names"),
        (b"\n\n", "no class names"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"cat\ncat\n", "classes 0 and 1 have the same name, 'cat'"),
        (b"0 cat\n0 dog\n", "numbers of classes must differ"),
        (b"999999 cat\n", "below 32768"),
        (b"a\x1b[2J\n", "printable"),
        (b"x" * 300, "too long"),
        (b"x" * 5_000_000, "more than 4,000,000 bytes"),
    ],
)
def test_wrong_label_files(tmp_path, data, message):
    path = tmp_path / "labels.txt"
    path.write_bytes(data)
    with pytest.raises(OptionError, match=message) as caught:
        class_names(path)
    assert len(str(caught.value)) < 400 and "\x1b" not in str(caught.value)


def test_labels_of_coco():
    names = class_names("coco90", 90)
    assert (names[0], names[11], names[89]) == ("person", "N/A 12", "toothbrush")
    with pytest.raises(OptionError, match="90 class names for a model with 80 classes"):
        class_names("coco90", 80)


def test_label_lines():
    assert label_lines("a\nb\n\n") == ["a", "b"]
    assert label_lines("") == []
