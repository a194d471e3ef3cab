import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgessd.classes.aliases import canonical
from edgessd.classes.class_map import ClassMap, class_labels
from edgessd.classes.coco import COCO_CLASSES, COCO_CLASSES_90, COCO_IDS, coco_category_ids, default_category_ids
from edgessd.errors import OptionError

NAMES = ["tv", "TV", "tvmonitor", "television", "cat", "Cat", "CAT", "dog", "zebra_crossing", "zebra crossing", "é"]
lists = st.lists(st.sampled_from(NAMES), unique=True)


def naive(source, target):
    """Exact spelling first, then by meaning, no name used twice; said as simply as can be."""
    partner = {name: name for name in source if name in target}
    for name in source:
        for other in target:
            if name not in partner and other not in partner.values() and canonical(name) == canonical(other):
                partner[name] = other
    return partner


@given(lists, lists)
def test_a_class_map_is_the_naive_one(source, target):
    classes, partner = ClassMap(source, target), naive(source, target)
    assert dict(classes.pairs) == partner
    assert len(set(partner.values())) == len(partner)
    assert [name for name, _ in classes.pairs] == [name for name in source if name in partner]
    assert classes.only_source == tuple(name for name in source if name not in partner)
    assert classes.only_target == tuple(name for name in target if name not in partner.values())
    assert classes.spelling == tuple(partner.get(name, name) for name in source)
    assert classes.label_of == {name: target.index(other) for name, other in partner.items()}
    labels = np.arange(len(source))
    expected = [target.index(partner[name]) if name in partner else -1 for name in source]
    assert classes.labels(labels).tolist() == classes.table.tolist() == expected


@given(lists, st.permutations(range(8)))
def test_the_way_there_and_back_is_the_same(source, order):
    target = [source[place] for place in order if place < len(source)]
    there, back = ClassMap(source, target), ClassMap(target, source)
    assert [(b, a) for a, b in sorted(there.pairs)] == sorted(back.pairs)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([], ["dog"], []),
        (["dog"], [], [-1]),
        (["aeroplane", "dog"], ["dog", "airplane"], [1, 0]),
        (
            ["tvmonitor", "sofa", "diningtable", "pottedplant", "motorbike"],
            ["tv", "couch", "dining table", "potted plant", "motorcycle"],
            [0, 1, 2, 3, 4],
        ),
        (["pedestrian"], ["person"], [-1]),
        (["Traffic_Light"], ["traffic light"], [0]),
        (["tv", "TV"], ["TV", "tv"], [1, 0]),
        (["television", "tv"], ["tv"], [-1, 0]),
    ],
)
def test_partners(source, target, expected):
    assert ClassMap(source, target).table.tolist() == expected


def test_labels_of_any_shape():
    classes = ClassMap("abc", "cb")
    assert classes.labels(np.array([[0, 1], [2, 2]])).tolist() == [[-1, 1], [0, 0]]
    assert classes.labels(np.zeros(0, np.int64)).tolist() == []
    assert ClassMap([], ["a"]).labels(np.zeros(0, np.int64)).dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        classes.table[0] = 1


@pytest.mark.parametrize(("source", "target"), [(["a", "b", "a"], ["a"]), (["a"], ["b", "b"])])
def test_a_name_given_twice_is_refused(source, target):
    with pytest.raises(OptionError, match="is named twice: give each class once"):
        ClassMap(source, target)


def test_labels_of_names():
    assert class_labels(["dog", "cat", "dog"], ("cat", "dog")).tolist() == [0, 1]
    assert class_labels("dog", ("cat", "dog")).tolist() == [1]
    assert class_labels(["tv", "television"], ("tvmonitor",)).tolist() == [0]
    assert class_labels(np.array(["dog"]), ("cat", "dog")).tolist() == [1]
    with pytest.raises(OptionError, match="classes names none"):
        class_labels([], ("cat",))


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (COCO_CLASSES, COCO_IDS),
        (COCO_CLASSES[::-1], COCO_IDS[::-1]),
        (COCO_CLASSES_90, tuple(range(1, 91))),
        (("person", "cat"), (1, 17)),
        (("cat", "N/A 1"), (17, 2)),
        (("person", "N/A 1", "car"), (1, 2, 3)),  # a label file's way to say that there is no class 1
        (("Cat",), None),
        (("cat", "helmet"), None),
        (("aeroplane",), None),
        ((), None),
    ],
)
def test_coco_ids_of_coco_names(names, ids):
    assert coco_category_ids(names) == ids


def test_ids_where_none_are_known():
    assert default_category_ids(("helmet", "vest")) == (1, 2)
    assert default_category_ids(("cat", "dog")) == (17, 18)
    with pytest.raises(OptionError, match=r"COCO's \(bicycle, bird, boat\): give category_ids"):
        default_category_ids(("aeroplane", "bicycle", "bird", "boat", "bottle"))


@given(st.lists(st.sampled_from([*COCO_CLASSES_90, "N/A 11", "helmet", "vest"]), unique=True, max_size=5))
def test_a_name_of_cocos_never_has_another_id(names):
    try:
        ids = default_category_ids(names)
    except OptionError:
        return
    assert len(set(ids)) == len(ids) == len(names)
    for name, number in zip(names, ids, strict=True):
        if name in COCO_CLASSES:
            assert number == COCO_IDS[COCO_CLASSES.index(name)]
