import json

import numpy as np
import pytest

from edgessd import Detections
from edgessd.errors import DependencyError, OptionError
from edgessd.results import class_labels

CLASSES = ("cat", "dog", "cow")


def make(count=3):
    boxes = np.array([[0, 0, 10, 20], [5, 5, 15, 15], [1, 2, 3, 4]], np.float32)[:count]
    scores = np.array([0.9, 0.6, 0.3], np.float32)[:count]
    labels = np.array([2, 0, 0])[:count]
    return Detections(boxes, scores, labels, CLASSES, (100, 50), {"run": 1.0})


def test_empty():
    none = make(0)
    assert len(none) == 0
    assert list(none) == []
    assert none.names == ()
    assert none.to_dict()["objects"] == []
    assert none.to_coco(1) == []
    assert "nothing" in repr(none)


def test_iteration_gives_plain_values():
    first = next(iter(make()))
    assert first.box == (0, 0, 10, 20)
    assert first.label == 2
    assert first.name == "cow"
    assert first.score == pytest.approx(0.9)
    assert type(first.label) is int
    assert type(first.score) is float


def test_indexing_and_filtering():
    found = make()
    assert found[1].names == ("cat",)
    assert found[-1].scores.tolist() == pytest.approx([0.3])
    assert found[:2].names == ("cow", "cat")
    assert found[found.scores > 0.5].names == ("cow", "cat")
    assert found.filter(0.5, ["cat"]).scores.tolist() == pytest.approx([0.6])
    assert found.filter(classes=["dog"]).names == ()


def test_json_and_coco():
    document = json.loads(make().to_json())
    assert document["width"] == 100
    assert document["objects"][0] == {"name": "cow", "label": 2, "score": 0.9, "box": [0, 0, 10, 20]}
    assert document["milliseconds"] == {"run": 1.0}
    entry = make().to_coco(7, [10, 20, 30])[1]
    assert entry == {"image_id": 7, "category_id": 10, "bbox": [5, 5, 10, 10], "score": pytest.approx(0.6)}
    assert make().to_coco(7)[0]["category_id"] == 3


def test_drawing_returns_a_copy():
    image = np.zeros((50, 100, 3), np.uint8)
    drawn = make().draw(image)
    assert drawn.shape == image.shape
    assert drawn.any()
    assert not image.any()


def test_an_unknown_class_is_answered_with_near_ones():
    assert class_labels(["dog", "cat", "dog"], CLASSES).tolist() == [0, 1]
    assert class_labels("dog", CLASSES).tolist() == [1]
    with pytest.raises(OptionError, match=r"no class 'cta' \(did you mean 'cat'"):
        make().filter(classes=["cta"])


def test_supervision_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[camera\]'"):
        make().to_supervision()
