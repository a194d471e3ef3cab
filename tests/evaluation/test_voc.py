from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import LabelledSet, Sample
from edgessd.evaluation.matching import flatten
from edgessd.evaluation.voc import Curve, average_precision, voc_ap, voc_curves

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)


def sample(*objects, difficult=()):
    flags = np.array([i in difficult for i in range(len(objects))], bool)
    boxes = np.array(objects, np.float32).reshape(-1, 4)
    zeros = np.zeros(len(objects))
    return Sample(Path("a"), 1, boxes, zeros.astype(int), flags, zeros.astype(bool), zeros)


def found(*rows):
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[1] for row in rows], np.float32)
    return Detections(boxes, scores, np.zeros(len(rows), np.int64), ("cat",), (100, 100))


def ap(truths, results, **options):
    return voc_ap(LabelledSet(tuple(truths), ("cat",), (1,)), results, **options)["cat"]


@pytest.mark.parametrize(
    ("truth", "result", "eleven", "area"),
    [
        (sample(A), found(), 0, 0),
        (sample(A), found((A, 0.9)), 1, 1),
        (sample(A), found((B, 0.9)), 0, 0),
        (sample(A), found((A, 0.9), (A, 0.8)), 1, 1),  # the double is wrong, but after full recall
        (sample(A), found((B, 0.9), (A, 0.8)), 0.5, 0.5),
        # one of two found: recall 0.5 at precision 1: six of the eleven points, half of the area
        (sample(A, B), found((A, 0.9)), 6 / 11, 0.5),
        # hit, miss, hit: precision 1 up to recall 1/2, 2/3 up to 1: by hand (6 + 5 * 2/3) / 11
        (sample(A, B), found((A, 0.9), (C, 0.8), (B, 0.7)), (6 + 5 * 2 / 3) / 11, 0.5 + 0.5 * 2 / 3),
        (sample(A, B, difficult=[1]), found((A, 0.9), (B, 0.95)), 1, 1),
        (sample(A, B, difficult=[1]), found((A, 0.9)), 1, 1),
    ],
)
def test_by_hand(truth, result, eleven, area):
    assert ap([truth], [result]) == pytest.approx(eleven)
    assert ap([truth], [result], eleven_points=False) == pytest.approx(area)


def test_a_class_without_objects_has_no_figure():
    assert np.isnan(ap([sample()], [found((A, 0.9))]))


def test_scores_are_ranked_over_all_pictures():
    value = ap([sample(A), sample(A)], [found((A, 0.6)), found((B, 0.9), (A, 0.5))])
    assert value == pytest.approx((11 * 2 / 3) / 11)


def test_a_class_the_model_does_not_have_is_never_found():
    truth = LabelledSet((sample(A),), ("dog",), (1,))
    assert voc_ap(truth, [found((A, 0.9))]) == {"dog": 0.0}


def test_area_under_the_envelope():
    recall, precision = np.array([0.25, 0.5, 0.75]), np.array([1.0, 0.4, 0.5])
    assert average_precision(recall, precision, False) == pytest.approx(0.25 + 0.5 * 0.5)
    assert average_precision(recall, precision, True) == pytest.approx((3 * 1 + 5 * 0.5) / 11)


HALF_OF_A = (0, 0, 10, 5)


def test_an_iou_at_the_threshold_is_a_hit():
    assert ap([sample(A)], [found((HALF_OF_A, 0.9))]) == 1
    assert ap([sample(A)], [found(((0, 0, 10, 4.99), 0.9))]) == 0
    assert ap([sample(A)], [found((HALF_OF_A, 0.9))], iou_threshold=0.51) == 0


def test_eleven_points_reach_up_to_their_own_recall():
    # Three of ten objects: recall 0.3 lies on a point, whatever the rounding of 0.1 + 0.1 + 0.1.
    boxes = [(20 * n, 0, 20 * n + 10, 10) for n in range(10)]
    assert ap([sample(*boxes)], [found(*((box, 0.9) for box in boxes[:3]))]) == pytest.approx(4 / 11)


def test_a_recall_just_below_a_point_does_not_reach_it():
    boxes = [(20 * n, 0, 20 * n + 10, 10) for n in range(21)]
    assert ap([sample(*boxes)], [found(*((box, 0.9) for box in boxes[:2]))]) == pytest.approx(1 / 11)  # 0.095 of all


def test_the_best_working_point_lies_between_different_scores():
    flat = flatten(
        LabelledSet((sample(A, B),), ("cat",), (1,)), [found((A, 0.9), (C, 0.5), (B, 0.5), ((60, 0, 70, 10), 0.2))]
    )
    (curve,) = voc_curves(flat)
    assert curve.recall.tolist() == [0.5, 0.5, 1, 1]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    # After 0.9: F1 2/3; after both of 0.5: 0.8; after 0.2: 2/3.
    assert curve.best_f1() == pytest.approx((0.5, 2 / 3, 1, 0.8))
    assert Curve(0, curve.score, curve.true).best_f1() is None
    assert Curve(2, curve.score, np.zeros(4, bool)).best_f1() is None
    assert np.isnan(Curve(0, curve.score, curve.true).recall).all()


def test_equal_scores_within_a_class_keep_the_order_of_pictures():
    truths = [sample(A) if number % 2 else sample(B) for number in range(40)]
    results = [found((A, 0.5)) for _ in range(40)]
    flat = flatten(LabelledSet(tuple(truths), ("cat",), (1,)), results)
    (curve,) = voc_curves(flat)
    assert curve.true.tolist() == [bool(number % 2) for number in range(40)]


def test_the_best_working_point_of_a_class_that_is_hardly_ever_found():
    # One right of 301 detections, and of 300 objects.
    curve = Curve(300, np.linspace(1, 0.1, 301), np.arange(301) == 300)
    assert curve.best_f1() == pytest.approx((0.1, 1 / 301, 1 / 300, 2 / 601))


def test_curves_are_of_hits_at_half_by_default():
    flat = flatten(LabelledSet((sample(A),), ("cat",), (1,)), [found(((0, 0, 10, 4.95), 0.9))])
    assert voc_curves(flat)[0].true.tolist() == [False] and voc_curves(flat, 0.49)[0].true.tolist() == [True]
    flat = flatten(LabelledSet((sample(A),), ("cat",), (1,)), [found(((0, 0, 10, 5.05), 0.9))])
    assert voc_curves(flat)[0].true.tolist() == [True]


def test_each_class_has_its_own_detections_best_first():
    labels, scores = np.arange(60) % 2, np.linspace(0.9, 0.1, 60, dtype=np.float32)
    boxes = np.tile(np.float32(A), (60, 1))
    results = [Detections(boxes, scores, labels, ("cat", "dog"), (100, 100))]
    cat, dog = voc_curves(flatten(LabelledSet((sample(A),), ("cat", "dog"), (1, 2)), results))
    assert cat.score.tolist() == scores[::2].tolist() and dog.score.tolist() == scores[1::2].tolist()
    assert (cat.objects, dog.objects) == (1, 0)
    assert cat.true.tolist() == [True] + [False] * 29 and not dog.true.any()
