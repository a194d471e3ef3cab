from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgessd.classes.class_map import ClassMap
from edgessd.errors import InputError
from edgessd.evaluation.classes import align, match_classes, under_classes

A, B = (0, 0, 40, 40), (50, 50, 90, 90)


def test_pairs_and_what_has_no_partner(build):
    truth, _ = build([([(0, A), (1, B), (1, A)], []), ([(3, A)], [])], ("aeroplane", "owl", "cat", "dog"))
    match = match_classes(truth, ("dog", "airplane", "cow", "cat"))
    assert match.pairs == (("aeroplane", "airplane"), ("cat", "cat"), ("dog", "dog"))
    assert (match.missing, match.unused) == ({"owl": 2}, ("cow",))


def test_where_nothing_is_shared_every_class_is_missing(build):
    truth, _ = build([([(1, A)], [])], ("owl", "bat"))
    assert match_classes(truth, ("cat",)).missing == {"owl": 0, "bat": 1}
    assert match_classes(build([], ("cat",))[0], ("cat",)).missing == {}


def test_both_sides_have_the_datas_classes(build):
    objects = [(2, A, "crowd"), (1, B), (0, B, "difficult")]
    truth, found = build(
        [(objects, [(0, A, 0.9), (1, B, 0.8), (2, A, 0.7)])], ("tv", "owl", "cat"), ("cat", "cow", "TV")
    )
    truth = replace(truth, category_ids=(72, 5, 17))
    shared, (under,), match = align(truth, found, ("cat", "cow", "TV"))
    assert (shared.classes, shared.category_ids, match.missing) == (("tv", "cat"), (72, 17), {"owl": 1})
    (sample,) = shared.samples
    assert (sample.labels.tolist(), sample.crowd.tolist(), sample.difficult.tolist()) == ([1, 0], [1, 0], [0, 1])
    assert (sample.boxes.tolist(), sample.area.tolist()) == ([[*A], [*B]], [1600, 1600])
    assert (under.classes, under.labels.tolist(), under.boxes.tolist()) == (("tv", "cat"), [1, 0], [[*A], [*A]])
    assert align(replace(truth, category_ids=None), found, ("cat",))[0].category_ids is None


@pytest.mark.parametrize(
    ("classes", "count", "message"),
    [
        (("cat",), 2, "2 detections for 1 pictures"),
        ((), 1, "no objects, so there are no classes"),
        (tuple("abcde"), 1, "the data has a, b, c, d, e; the model has cat$"),
        (tuple("abcdef"), 1, "the data has a, b, c, d, e and 1 more; the model has cat$"),
    ],
)
def test_what_cannot_be_aligned(build, classes, count, message):
    truth, _ = build([([], [])], classes)
    _, found = build([([], [])] * count, ("cat",))
    with pytest.raises(InputError, match=message):
        align(truth, found, ("cat",))


names = st.lists(st.sampled_from(["tv", "TV", "tvmonitor", "cat", "Cat", "dog", "owl"]), min_size=1, unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # `build` keeps nothing
@given(names, names)
def test_a_detection_is_measured_under_its_partner(build, classes, model):
    """Both sides meet in the same pairs, whichever side the names are looked up from."""
    items = [(label, A, 0.5) for label in range(len(model))]
    truth, found = build([([(label, A) for label in range(len(classes))], items)], tuple(classes), tuple(model))
    partner = {theirs: ours for ours, theirs in ClassMap(classes, model).pairs}
    if partner:
        shared, (under,), match = align(truth, found, model)
        assert under.names == tuple(partner[name] for name in model if name in partner)
        assert [shared.classes[label] for label in shared.samples[0].labels] == [name for name, _ in match.pairs]
    (alone,) = under_classes(found, classes)
    assert alone.names == tuple(partner[name] for name in model if name in partner)
    assert np.isin(alone.labels, np.arange(len(classes))).all()
