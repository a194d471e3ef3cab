import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgessd.ops.boxes import decode, encode, iou_matrix, to_cxcywh, to_xyxy
from edgessd.spec import CoderSpec

EMPTY = np.zeros((0, 4), np.float32)


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (EMPTY, EMPTY, np.zeros((0, 0))),
        (boxes((0, 0, 1, 1)), EMPTY, np.zeros((1, 0))),
        (boxes((0, 0, 2, 2)), boxes((0, 0, 2, 2)), [[1]]),
        (boxes((0, 0, 2, 2)), boxes((1, 0, 3, 2)), [[1 / 3]]),
        (boxes((0, 0, 1, 1)), boxes((1, 1, 2, 2), (5, 5, 6, 6)), [[0, 0]]),
        (boxes((1, 1, 1, 1)), boxes((1, 1, 1, 1)), [[0]]),
    ],
)
def test_iou(first, second, expected):
    np.testing.assert_allclose(iou_matrix(first, second), expected, rtol=1e-6)


def test_corners_and_centres_are_inverse():
    there = to_xyxy(boxes((5, 6, 4, 2)))
    assert there.tolist() == [[3, 5, 7, 7]]
    assert to_cxcywh(there).tolist() == [[5, 6, 4, 2]]


def test_decode_by_hand():
    # Equation 2 with variances 0.1 and 0.2: centre moves by 1 * 0.1 * width; width doubles for ln 2 / 0.2.
    prior = boxes((0.5, 0.5, 0.2, 0.4))
    offsets = boxes((1, -1, math.log(2) / 0.2, 0))
    np.testing.assert_allclose(decode(offsets, prior, CoderSpec()), [[0.32, 0.26, 0.72, 0.66]], rtol=1e-6)


def test_zero_offsets_are_the_prior():
    prior = boxes((0.5, 0.5, 0.2, 0.4))
    np.testing.assert_allclose(decode(np.zeros_like(prior), prior, CoderSpec()), to_xyxy(prior), rtol=1e-6)


def test_wild_offsets_stay_finite():
    prior = boxes((0.5, 0.5, 0.2, 0.4))
    assert np.isfinite(decode(np.full((1, 4), 1e6, np.float32), prior, CoderSpec())).all()


side = st.floats(1 / 32, 1, width=32)
center = st.floats(0, 1, width=32)
box = st.tuples(center, center, side, side)


@given(target=box, prior=box, variances=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)))
def test_encode_then_decode_gives_the_box_back(target, prior, variances):
    coder = CoderSpec(center_variance=variances[0], size_variance=variances[1])
    corners = to_xyxy(boxes(target))
    back = decode(encode(corners, boxes(prior), coder), boxes(prior), coder)
    np.testing.assert_allclose(back, corners, atol=2e-5)


def test_a_size_grows_by_1000_over_16_at_most():
    prior = boxes((0.5, 0.5, 0.2, 0.4))
    (x1, y1, x2, y2) = decode(np.float32([[0, 0, 1e6, 1e6]]), prior, CoderSpec()).tolist()[0]
    assert x2 - x1 == pytest.approx(0.2 * 62.5) and y2 - y1 == pytest.approx(0.4 * 62.5)


def test_iou_of_boxes_of_different_sizes():
    first, second = boxes((1, 2, 5, 4), (0, 0, 2, 8)), boxes((3, 1, 9, 4), (0, 0, 2, 8), (10, 10, 11, 11))
    # By hand: 2 x 2 of 8 + 18 - 4; 1 x 2 of 8 + 16 - 2; nothing; 0 x 3; all; nothing.
    np.testing.assert_allclose(iou_matrix(first, second), [[4 / 22, 2 / 22, 0], [0, 1, 0]], rtol=1e-6)


def test_encode_by_hand():
    prior = boxes((0.5, 0.25, 0.2, 0.4))
    target = boxes((0.5, 0.15, 0.9, 0.55))  # centre (0.7, 0.35), 0.4 x 0.4
    expected = [[0.2 / 0.2 / 0.1, 0.1 / 0.4 / 0.1, math.log(2) / 0.2, 0]]
    np.testing.assert_allclose(encode(target, prior, CoderSpec()), expected, rtol=1e-5, atol=1e-6)
