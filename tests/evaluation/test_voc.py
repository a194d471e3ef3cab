from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import LabelledSet, Sample
from edgessd.evaluation.voc import average_precision, voc_ap

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
