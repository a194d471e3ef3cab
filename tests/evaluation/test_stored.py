import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgessd.errors import InputError
from edgessd.evaluation import evaluate, load_detections, save_detections

A, B = (0, 0, 40, 40), (50, 50, 90, 90)


def placed(truth, paths):
    """The same set with its pictures at these paths."""
    samples = [replace(sample, image=Path(path)) for sample, path in zip(truth.samples, paths, strict=True)]
    return replace(truth, samples=tuple(samples))


def test_stored_detections_come_back_to_the_last_digit(build, tmp_path, rng):
    boxes = rng.uniform(0, 100, (50, 4)).astype(np.float32)
    truth, found = build([([], [(1, box, rng.random()) for box in boxes]), ([], [])])
    save_detections(tmp_path / "d.json", "mine", truth, found)
    name, classes, back = load_detections(tmp_path / "d.json", truth)
    assert (name, classes) == ("mine", ("cat", "dog", "car"))
    for one, other in zip(found, back, strict=True):
        assert one.boxes.tobytes() == other.boxes.tobytes()
        assert one.scores.tobytes() == other.scores.tobytes()
        assert one.labels.tolist() == other.labels.tolist()
        assert (one.image_size, one.classes) == (other.image_size, other.classes)


GOOD = {"name": "001", "width": 9, "height": 9, "boxes": [], "scores": [], "labels": []}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "no file of stored"),
        ("[]", "no file of stored"),
        ({"model": "m", "classes": ["a"]}, "no file of stored"),
        ({"model": "m", "classes": ["a"], "images": []}, "no detections of 1 of the 1 pictures, such as 001"),
        ({"model": "m", "classes": ["a"], "images": [GOOD | {"scores": [1.0]}]}, "unequal numbers"),
        (
            {
                "model": "m",
                "classes": ["a"],
                "images": [GOOD | {"scores": [1.0], "boxes": [[0, 0, 1, 1]], "labels": [1]}],
            },
            "label outside its 1 classes",
        ),
    ],
)
def test_a_wrong_file_of_detections_is_refused(build, tmp_path, document, message):
    path = tmp_path / "d.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(InputError, match=message):
        load_detections(path, build([([], [])])[0])
    with pytest.raises(InputError, match="cannot be read"):
        load_detections(tmp_path / "missing.json", build([([], [])])[0])


@pytest.mark.parametrize(
    "paths",
    [
        ["set/a/1.jpg", "set/b/1.jpg", "set/c/1.jpg", "set/c/2.jpg"],
        ["a/val/1.jpg", "b/val/1.jpg", "a/1.jpg", "b/1.jpg"],  # joined sets: the last folder is the same
        ["/x/1.jpg", "/x/1.png", "/x/y/1.jpg", "/x/y/z/1.jpg"],
        ["/1.jpg", "/a/1.jpg", "/a/2.jpg", "/2.jpg"],
    ],
)
def test_pictures_of_one_name_keep_their_own_detections(build, tmp_path, paths):
    pictures = [([(0, A)], [(0, A, 0.9)]), ([(1, B)], [(1, B, 0.9)]), ([(2, A)], [(2, A, 0.9)]), ([(0, B)], [])]
    truth, found = build(pictures)
    truth = placed(truth, paths)
    save_detections(tmp_path / "d.json", "mine", truth, found)
    back = load_detections(tmp_path / "d.json", truth)[2]
    assert [list(each) for each in back] == [list(each) for each in found]
    assert evaluate(truth, back, "voc").figures == evaluate(truth, found, "voc").figures
    some = truth.take([2, 0])
    assert [list(each) for each in load_detections(tmp_path / "d.json", some)[2]] == [list(found[2]), list(found[0])]
    moved = placed(truth, [f"/elsewhere/{path.strip('/')}" for path in paths])
    assert [list(each) for each in load_detections(tmp_path / "d.json", moved)[2]] == [list(each) for each in found]


names = st.sampled_from(["1.jpg", "2.jpg", "1.png", "a/1.jpg", "b/1.jpg", "a/b/1.jpg", "b/b/1.jpg", "data/1.jpg"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # `build` keeps nothing
@given(st.lists(names, min_size=1, unique=True), st.data())
def test_any_part_of_a_set_finds_its_own_or_nothing(tmp_path_factory, build, paths, data):
    target = tmp_path_factory.mktemp("stored") / "d.json"
    truth, found = build([([], [(0, A, (place + 1) / 10)]) for place in range(len(paths))])
    truth = placed(truth, [f"/x/data/{path}" for path in paths])
    save_detections(target, "mine", truth, found)
    rows = data.draw(st.lists(st.integers(0, len(paths) - 1), min_size=1))
    for some in (list(range(len(paths))), rows):
        try:
            back = load_detections(target, truth.take(some))[2]
        except InputError as error:
            assert "apart: detect again" in str(error) and some is rows
        else:
            assert [each.scores[0] for each in back] == [found[row].scores[0] for row in some]


def test_another_split_with_equal_names_is_refused(build, tmp_path):
    truth, found = build([([], []), ([], [])])
    save_detections(tmp_path / "d.json", "mine", placed(truth, ["/x/val/1.jpg", "/x/val/2.jpg"]), found)
    with pytest.raises(InputError, match=r"no detections of 2 of the 2 pictures, such as 1: .* another split"):
        load_detections(tmp_path / "d.json", placed(truth, ["/x/train/1.jpg", "/x/train/2.jpg"]))


def test_a_picture_that_is_there_twice_is_stored_once(build, tmp_path):
    truth, found = build([([], [(0, A, 0.5)]), ([], [(0, A, 0.5)])])
    truth = placed(truth, ["a/1.jpg", "a/1.jpg"])
    save_detections(tmp_path / "d.json", "mine", truth, found)
    assert len(json.loads((tmp_path / "d.json").read_text())["images"]) == 1
    assert [len(each) for each in load_detections(tmp_path / "d.json", truth)[2]] == [1, 1]


def test_a_part_that_could_be_two_pictures_is_refused(build, tmp_path):
    truth, found = build([([], [])] * 4)
    truth = placed(truth, ["/x/a/1.jpg", "/x/a/2.jpg", "/x/a/x/a/1.jpg", "/x/a/x/a/2.jpg"])
    save_detections(tmp_path / "d.json", "mine", truth, found)
    assert len(load_detections(tmp_path / "d.json", truth)[2]) == 4
    with pytest.raises(InputError, match=r"does not tell a/1.jpg and a/x/a/1.jpg apart"):
        load_detections(tmp_path / "d.json", truth.take([2, 3]))


@pytest.mark.parametrize(
    ("stored", "asked", "message"),
    [
        (["/x/val/1.jpg", "/x/val/2.jpg"], ["/y/val/1.jpg", "/y/val/3.jpg"], "1 of the 2 pictures, such as 3:"),
        (["/x/s/a/1.jpg", "/x/s/b/2.jpg"], ["/y/t/a/1.jpg", "/y/t/c/3.jpg"], "2 of the 2 pictures, such as 1:"),
    ],
)
def test_pictures_that_are_not_there_are_counted(build, tmp_path, stored, asked, message):
    truth, found = build([([], []), ([], [])])
    save_detections(tmp_path / "d.json", "mine", placed(truth, stored), found)
    with pytest.raises(InputError, match=message):
        load_detections(tmp_path / "d.json", placed(truth, asked))


def test_category_ids_and_times_are_kept(build, tmp_path):
    truth, (first,) = build([([], [(0, A, 0.5)])])
    first = replace(first, category_ids=(17, 18, 3), timings={"run": 1.25})
    save_detections(tmp_path / "d.json", "mine", truth, [first])
    (back,) = load_detections(tmp_path / "d.json", truth)[2]
    assert (back.category_ids, back.timings) == ((17, 18, 3), {"run": 1.25})
    document = json.loads((tmp_path / "d.json").read_text())
    assert document["classes"] == list(first.classes) and "classes" not in document["images"][0]


def test_detections_that_do_not_belong_together_are_not_stored(build, tmp_path):
    truth, found = build([([], []), ([], [])])
    other = build([([], [])], model_classes=("cow",))[1]
    for wrong in (other[0], replace(found[0], category_ids=(1, 2, 3))):
        with pytest.raises(InputError, match="other classes"):
            save_detections(tmp_path / "d.json", "mine", truth, [found[0], wrong])
    with pytest.raises(InputError, match="1 detections for 2 pictures"):
        save_detections(tmp_path / "d.json", "mine", truth, found[:1])
    assert not (tmp_path / "d.json").exists()


OLD = {"name": "001", "width": 9, "height": 9, "boxes": [[0, 0, 1, 1]], "scores": [0.5], "labels": [0]}


@pytest.mark.parametrize(
    ("name", "path"), [("001", "001.png"), ("001", "/x/y/001.jpg"), ("y/001", "/x/y/001.png"), ("a.b", "/x/a.b.png")]
)
def test_a_file_of_before_is_read(build, tmp_path, name, path):
    (tmp_path / "d.json").write_text(json.dumps({"model": "m", "classes": ["a"], "images": [OLD | {"name": name}]}))
    model, classes, (found,) = load_detections(tmp_path / "d.json", placed(build([([], [])])[0], [path]))
    assert (model, classes, found.names, found.image_size) == ("m", ("a",), ("a",), (9, 9))


def test_a_file_of_before_does_not_tell_pictures_of_one_name_apart(build, tmp_path):
    images = [OLD | {"name": name} for name in ("000", "001", "002")]
    (tmp_path / "d.json").write_text(json.dumps({"model": "m", "classes": ["a"], "images": images}))
    truth = placed(build([([], [])] * 4)[0], ["/y/000.png", "/a/001.png", "/x/002.png", "/b/001.png"])
    with pytest.raises(InputError, match=r"does not tell /a/001.png and /b/001.png apart: detect again"):
        load_detections(tmp_path / "d.json", truth)


NEW = {"schema": 2, "model": "m", "classes": ["a"]}
PICTURE = {"name": f"{Path.cwd().name}/001.png", "width": 9, "height": 9, "objects": []}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 3}, "schema 3 is unknown"),
        ({"images": [PICTURE], "extra": 1}, "unknown field `extra`"),
        ({"schema": None, "images": [], "extra": 1}, "unknown field `extra`"),
        ({"schema": None, "images": [OLD | {"extra": 1}]}, "unknown field `extra`"),
        ({"images": []}, "no detections of 1 of the 1 pictures, such as 001"),
        ({"images": [PICTURE, PICTURE]}, "several pictures of one name"),
        ({"images": [PICTURE | {"objects": [{"label": 1, "score": 1, "box": A}]}]}, "001.png: a detection has label 1"),
        ({"category_ids": [1, 2], "images": [PICTURE]}, "2 category ids for 1 classes"),
        ({"images": [PICTURE | {"objects": [{"label": 0, "score": "x", "box": A}]}]}, "no file of stored"),
    ],
)
def test_a_wrong_file_of_today_is_refused(build, tmp_path, changes, message):
    document = {key: value for key, value in (NEW | changes).items() if value is not None}
    (tmp_path / "d.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        load_detections(tmp_path / "d.json", build([([], [])])[0])
