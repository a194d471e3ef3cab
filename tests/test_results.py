import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from edgessd import Detection, Detections
from edgessd.classes.class_map import ClassMap
from edgessd.errors import DependencyError, InputError, OptionError

CLASSES = ("cat", "dog", "cow")


def make(count=3, classes=CLASSES, **options):
    boxes = np.array([[0, 0, 10, 20], [5, 5, 15, 15], [1, 2, 3, 4]], np.float32)[:count]
    scores = np.array([0.9, 0.6, 0.3], np.float32)[:count]
    labels = np.array([2, 0, 0])[:count]
    return Detections(boxes, scores, labels, classes, (100, 50), {"run": 1.0}, **options)


@st.composite
def anything(draw):
    """Detections with any float32 that JSON has."""
    classes = tuple(draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True)))
    count = draw(st.integers(0, 5))
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    return Detections(
        draw(nps.arrays(np.float32, (count, 4), elements=numbers)),
        draw(nps.arrays(np.float32, count, elements=numbers)),
        draw(nps.arrays(np.int64, count, elements=st.integers(0, len(classes) - 1))),
        classes,
        draw(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000))),
        draw(st.dictionaries(st.sampled_from(["read", "run"]), st.floats(0, 1e9))),
        draw(st.one_of(st.none(), st.permutations(range(len(classes))).map(tuple))),
    )


def assert_same(one, other, *, names_only=False):
    for name in ("boxes", "scores", "labels"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())
    assert (one.names, one.image_size, one.timings) == (other.names, other.image_size, other.timings)
    if not names_only:
        assert (one.classes, one.category_ids) == (other.classes, other.category_ids)


def test_empty():
    none = make(0)
    assert len(none) == 0
    assert list(none) == []
    assert none.names == ()
    assert none.to_dict()["objects"] == []
    assert none.to_coco(1) == []
    assert none.area.shape == (0,)
    assert "nothing" in repr(none)
    assert_same(Detections([], [], [], CLASSES, (100, 50), {"run": 1.0}), none)


def test_iteration_gives_plain_values():
    first = next(iter(make()))
    assert first.box == (0, 0, 10, 20)
    assert first.label == 2
    assert first.name == "cow"
    assert first.score == pytest.approx(0.9)
    assert type(first.label) is int
    assert type(first.score) is float


def test_filtering():
    found = make()
    assert found.filter(0.5, ["cat"]).scores.tolist() == pytest.approx([0.6])
    assert found.filter(classes=["dog"]).names == ()
    assert found.filter().names == found.filter(None, None).names == found.names
    with pytest.raises(OptionError, match="classes names none"):
        found.filter(classes=[])
    assert found.filter(classes=["CAT"]).names == ("cat", "cat")


@pytest.mark.parametrize(
    "threshold", [0.6, np.float32(0.6), np.float64(0.6), np.float16(0.6), np.array(0.6), np.float64(np.float32(0.6))]
)
def test_a_score_equal_to_the_threshold_of_any_type_goes(threshold):
    assert len(make().filter(threshold)) == (2 if np.float32(threshold) < np.float32(0.6) else 1)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "high", [0.5, 0.5], 50])
def test_what_is_no_threshold_is_refused(threshold):
    with pytest.raises(OptionError, match="score_threshold must be a number within 0 and 1"):
        make().filter(threshold)


@pytest.mark.parametrize(
    "names",
    [
        "cat",
        np.str_("cat"),
        np.array("cat"),
        np.array(["cat", "cat"]),
        (name for name in ["cat"]),
        {"cat"},
        {"cat": 1},
        np.array(["cat"], object),
    ],
    ids=lambda names: type(names).__name__,
)
def test_names_of_any_type_are_a_filter(names):
    assert make().filter(classes=names).names == ("cat", "cat")


@pytest.mark.parametrize("names", [b"cat", [b"cat"], [0], 0, [None], np.array([1, 2]), [["cat"]], ["cta"]], ids=str)
def test_what_is_no_name_is_refused(names):
    with pytest.raises(OptionError, match=r"names|by name|no class 'cta' \(did you mean 'cat'"):
        make().filter(classes=names)


# Indexing: as a list does it, and as an array where several are meant.


@given(st.data())
def test_indexing_is_that_of_a_list(data):
    found = make(data.draw(st.integers(0, 3)))
    model = list(found)
    number = data.draw(st.integers(-5, 5))
    kinds = [int, np.int64, np.int8, np.array, np.intp]
    place = data.draw(st.sampled_from(kinds))(number)
    try:
        expected = model[number]
    except IndexError:
        with pytest.raises(IndexError):
            found[place]
    else:
        assert found[place] == expected
        assert type(found[place]) is Detection
    chosen = data.draw(st.slices(len(model)) if model else st.just(slice(None)))
    assert list(found[chosen]) == model[chosen]
    mask = data.draw(st.lists(st.booleans(), min_size=len(model), max_size=len(model)))
    for each in (mask, np.array(mask, bool)):
        assert list(found[each]) == [item for item, keep in zip(model, mask, strict=True) if keep]
    places = data.draw(st.lists(st.integers(-len(model), len(model) - 1))) if model else []
    for each in (places, np.array(places, np.int32), tuple(places)):
        part = found[each]
        assert isinstance(part, Detections) and list(part) == [model[item] for item in places]
        assert (part.classes, part.image_size, part.timings) == (found.classes, found.image_size, found.timings)


def test_the_best_by_argmax():
    found = make()
    assert found[found.scores.argmax()] == found[0] == next(iter(found))
    assert found[found.scores.argmin()].box == (1, 2, 3, 4)
    assert found[found.scores > 0.5].names == ("cow", "cat")


@pytest.mark.parametrize("place", ["cow", None, 1.5, np.zeros((2, 2), int), {1}, ...])
def test_what_is_no_index(place):
    with pytest.raises((TypeError, IndexError)):
        make()[place]


@pytest.mark.parametrize("place", [3, -4, [3], np.array([0, -4]), [True], np.zeros(4, bool), [0.0]], ids=str)
def test_an_index_that_is_not_there(place):
    with pytest.raises(IndexError):
        make()[place]


# What does not fit is refused where it is made.

GOOD = {
    "boxes": [[0, 0, 1, 1], [1, 1, 2, 2]],
    "scores": [0.9, 0.5],
    "labels": [0, 1],
    "classes": CLASSES,
    "image_size": (9, 8),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": [[0, 0, 1, 1]]}, "1 boxes, 2 scores and 2 labels"),
        ({"scores": []}, "2 boxes, 0 scores"),
        ({"boxes": np.zeros((2, 5))}, r"boxes must have shape \[N, 4\], not \[2, 5\]"),
        ({"boxes": np.zeros(4)}, r"boxes must have shape \[N, 4\], not \[4\]"),
        ({"boxes": np.zeros((2, 0))}, r"boxes must have shape \[N, 4\], not \[2, 0\]"),
        ({"boxes": [[0, 0, 1, 1], [1]]}, r"boxes must have shape \[N, 4\]"),
        ({"boxes": [["a"] * 4] * 2}, "boxes must be numbers"),
        ({"boxes": [[0, 0, 1, 1e39]] * 2}, "boxes must be numbers that float32 holds"),
        ({"scores": [[0.9, 0.5]]}, r"scores must have shape \[N\], not \[1, 2\]"),
        ({"scores": 0.5}, r"scores must have shape \[N\], not \[\]"),
        ({"scores": [0.5, None]}, "scores must be numbers"),
        ({"labels": [0.0, 1.0]}, "labels must be whole numbers"),
        ({"labels": [True, False]}, "labels must be whole numbers"),
        ({"labels": [0, 3]}, "label 3: it is a label outside its 3 classes"),
        ({"labels": [-1, 0]}, "label -1"),
        ({"classes": ()}, "label 0: it is a label outside its 0 classes"),
        ({"classes": "cat"}, "classes must be a sequence of names"),
        ({"image_size": (9,)}, "image_size must be"),
        ({"image_size": (9, 0)}, "image_size must be"),
        ({"image_size": 9}, "image_size must be"),
        ({"category_ids": (1, 2)}, "2 category ids for 3 classes"),
        ({"category_ids": (1, 2, "3")}, "whole numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message):
    Detections(**GOOD)
    with pytest.raises(InputError, match=message):
        Detections(**GOOD | changes)


def test_arrays_of_other_types_become_ours():
    found = Detections(
        np.array(GOOD["boxes"], np.int16), np.array([1, 0]), np.array([0, 1], np.uint8), list("ab"), [9, 8]
    )
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert (found.classes, found.image_size) == (("a", "b"), (9, 8))


def test_area():
    assert make().area.tolist() == [200, 100, 4]
    inverted = Detections([[5, 5, 1, 9], [0, 0, 4096, 4097]], [1, 1], [0, 0], ("a",), (9, 9))
    assert inverted.area.tolist() == [0, 4096 * 4097]


# One exact form.


@given(anything())
def test_a_result_comes_back_bit_for_bit(found):
    assert_same(Detections.from_dict(found.to_dict()), found)
    assert_same(Detections.from_dict(json.loads(found.to_json())), found)
    short = json.loads(json.dumps(found.to_dict(classes=False)))
    assert_same(Detections.from_dict(short, found.classes, found.category_ids), found)
    assert_same(Detections.from_dict(short), found, names_only=True)


@given(nps.arrays(np.uint32, 50))
def test_every_float32_comes_back(bits):
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    found = Detections(np.zeros((len(values), 4)), values, np.zeros(len(values), int), ("a",), (1, 1))
    back = Detections.from_dict(json.loads(found.to_json()))
    assert back.scores.tobytes() == values.tobytes()


def test_the_form_is_readable():
    document = json.loads(make().to_json())
    assert document == {
        "width": 100,
        "height": 50,
        "objects": [
            {"name": "cow", "label": 2, "score": 0.9, "box": [0, 0, 10, 20]},
            {"name": "cat", "label": 0, "score": 0.6, "box": [5, 5, 15, 15]},
            {"name": "cat", "label": 0, "score": 0.3, "box": [1, 2, 3, 4]},
        ],
        "milliseconds": {"run": 1.0},
        "classes": ["cat", "dog", "cow"],
    }
    assert make(category_ids=(17, 18, 21)).to_dict()["category_ids"] == [17, 18, 21]
    assert set(make().to_dict(classes=False)) == {"width", "height", "objects", "milliseconds"}


def test_without_classes_the_objects_say_what_is_known():
    document = {"source": "a.jpg", "frame": 0, **make().to_dict(classes=False)}
    assert Detections.from_dict(document).classes == ("cat", "N/A 1", "cow")
    assert Detections.from_dict(document, CLASSES).classes == CLASSES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": None}, r"no result of edgessd: .*\$\.width"),
        ({"height": "5"}, r"\$\.height"),
        ({"objects": {}}, r"\$\.objects"),
        ({"objects": [{"label": 0, "score": 1.0, "box": [1, 2, 3]}]}, r"\$\.objects\[0\]\.box"),
        ({"objects": [{"label": -1, "score": 1.0, "box": [1, 2, 3, 4]}]}, r"\$\.objects\[0\]\.label"),
        ({"objects": [{"label": 3, "score": 1.0, "box": [1, 2, 3, 4]}]}, "outside its 3 classes"),
        ({"objects": [{"label": 0, "name": "dog", "score": 1.0, "box": [1, 2, 3, 4]}]}, "label 0, 'cat', and the name"),
        ({"objects": [{"label": 10**6, "score": 1.0, "box": [1, 2, 3, 4]}], "classes": None}, "labels lie below"),
        ({"objects": [{"label": 0, "score": float("nan"), "box": [1, 2, 3, 4]}]}, "no finite number"),
        ({"objects": [{"label": 0, "score": 1.0, "box": [1, 2, 3, float("inf")]}]}, "no finite number"),
        ({"classes": ["cat"], "objects": []}, "other classes than those given"),
        ({"width": 0}, "image_size"),
    ],
)
def test_what_is_no_result_is_refused(changes, message):
    given_classes = CLASSES if "other classes" in message else None
    with pytest.raises(InputError, match=message) as caught:
        Detections.from_dict(make().to_dict() | changes, given_classes)
    assert "\n" not in str(caught.value)
    for other in ({}, [], None, "text"):
        with pytest.raises(InputError):
            Detections.from_dict(other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*make(category_ids=(1, 2, 3)).to_dict()]), json_values, max_size=3))
def test_a_damaged_result_is_refused_in_one_line(changes):
    try:
        Detections.from_dict(make().to_dict() | changes)
    except InputError as error:
        assert "\n" not in str(error)


# COCO.


def test_coco_entries():
    entry = make().to_coco(7, [10, 20, 30])[1]
    assert entry == {"image_id": 7, "category_id": 10, "bbox": [5, 5, 10, 10], "score": pytest.approx(0.6)}
    numbers = make().to_coco(np.int64(7), np.array([10, 20, 30]))
    assert json.loads(json.dumps(numbers))[1] == json.loads(json.dumps(entry))
    assert make().to_coco("0007")[0]["image_id"] == "0007"
    with pytest.raises(TypeError):
        make().to_coco(7.5)
    with pytest.raises(OptionError, match="2 category ids for 3 classes"):
        make().to_coco(7, [1, 2])


@pytest.mark.parametrize(
    ("classes", "ids", "expected"),
    [
        (("cat", "dog", "cow"), None, [21, 17, 17]),  # all of them COCO's
        (("cat", "dog", "cow"), (3, 2, 1), [1, 3, 3]),  # the model's own go first
        (("a", "b", "c"), None, [3, 1, 1]),  # none of them COCO's
        (("a", "dog", "c"), (0, 5, 9), [9, 0, 0]),
    ],
)
def test_category_ids(classes, ids, expected):
    assert [each["category_id"] for each in make(classes=classes, category_ids=ids).to_coco(1)] == expected


def test_half_of_coco_is_not_guessed():
    with pytest.raises(OptionError, match=r"only some of the classes are COCO's \(dog\): give category_ids"):
        make(classes=("helmet", "dog", "vest")).to_coco(1)


# Several as one.


def test_merging_keeps_the_best_first():
    first, second = make(), Detections([[7, 7, 8, 8]], [0.6], [1], CLASSES, (100, 50), {"run": 2.0, "read": 1.0})
    merged = Detections.merge([first, second])
    assert merged.names == ("cow", "cat", "dog", "cat")  # equal scores in the order given
    assert merged.timings == {"run": 3.0, "read": 1.0}
    assert_same(Detections.merge([first]), first)
    three = Detections.merge(make() for _ in range(3))
    assert three.names == ("cow",) * 3 + ("cat",) * 6 and three.timings == {"run": 3.0}


@pytest.mark.parametrize(
    "other",
    [
        make(classes=("cat", "cow", "dog")),
        make(category_ids=(1, 2, 3)),
        Detections([], [], [], CLASSES, (50, 100)),
        None,
    ],
)
def test_what_cannot_be_merged(other):
    with pytest.raises(InputError, match=r"cannot be merged|a list of Detections, at least one"):
        Detections.merge([make(), other])


@pytest.mark.parametrize("parts", [[], None, make(), 3])
def test_what_is_no_list_of_detections(parts):
    with pytest.raises(InputError, match="a list of Detections, at least one"):
        Detections.merge(parts)


def test_detections_under_other_classes():
    found = make().under(ClassMap(CLASSES, ["Cow", "horse"]))
    assert (found.names, found.classes, found.labels.tolist()) == (("Cow",), ("Cow", "horse"), [0])


def test_drawing_returns_a_copy():
    image = np.zeros((50, 100, 3), np.uint8)
    drawn = make().draw(image)
    assert drawn.shape == image.shape
    assert drawn.any()
    assert not image.any()


def test_supervision_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[camera\]'"):
        make().to_supervision()
