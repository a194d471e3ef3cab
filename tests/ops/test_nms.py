import numpy as np
import pytest

from edgessd.ops.nms import best_of_each_class, class_wise_nms


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


A, A_SHIFTED, FAR = (0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60)


@pytest.mark.parametrize(
    ("rows", "labels", "threshold", "most", "kept"),
    [
        ([], [], 0.5, 10, []),
        ([A], [0], 0.5, 10, [0]),
        ([A, A_SHIFTED], [0, 0], 0.5, 10, [0]),
        ([A, A_SHIFTED], [0, 1], 0.5, 10, [0, 1]),
        ([A, A_SHIFTED, FAR], [0, 0, 0], 0.5, 10, [0, 2]),
        ([A, A_SHIFTED, FAR], [0, 0, 0], 0.9, 10, [0, 1, 2]),
        ([A, FAR, A_SHIFTED], [0, 1, 2], 0.5, 2, [0, 1]),
        ([A, A], [0, 0], 1.0, 10, [0, 1]),  # IoU equal to the threshold is kept
    ],
)
def test_table(rows, labels, threshold, most, kept):
    assert class_wise_nms(boxes(*rows), np.array(labels, np.int64), threshold, most).tolist() == kept


def test_a_suppressed_box_suppresses_nothing():
    chain = boxes((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))
    assert class_wise_nms(chain, np.zeros(3, np.int64), 0.3, 10).tolist() == [0, 2]


def greedy(rows, labels, threshold):
    kept = []
    for i, (x1, y1, x2, y2) in enumerate(rows):
        for j in kept:
            a1, b1, a2, b2 = rows[j]
            overlap = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - overlap
            if labels[i] == labels[j] and overlap / union > threshold:
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("count", [127, 128, 129, 700])
def test_blocks_give_what_the_plain_greedy_algorithm_gives(rng, count):
    low = rng.random((count, 2))
    rows = np.concatenate([low, low + 0.1 + rng.random((count, 2)) * 0.4], axis=1).astype(np.float32)
    labels = rng.integers(0, 3, count)
    expected = greedy(rows.astype(float).tolist(), labels.tolist(), 0.4)
    assert class_wise_nms(rows, labels, 0.4, count).tolist() == expected
    assert class_wise_nms(rows, labels, 0.4, 7).tolist() == expected[:7]


def test_best_of_each_class():
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert best_of_each_class(labels, 2).tolist() == [True, True, True, False, True, True]
    assert best_of_each_class(labels, 6).all()
    assert best_of_each_class(np.zeros(0, np.int64), 3).tolist() == []


def test_a_box_at_the_threshold_of_one_of_an_earlier_block_is_kept():
    low = np.arange(150)[:, None] * 10.0 + [[0, 0]]
    far = np.concatenate([low, low + 1], axis=1) + 100
    rows = boxes((0, 0, 2, 1), *far[:149], (0, 0, 1, 1))  # IoU of the first and the last: exactly 0.5
    labels = np.zeros(151, np.int64)
    assert class_wise_nms(rows, labels, 0.5, 200).tolist() == list(range(151))
    assert class_wise_nms(rows, labels, 0.49, 200).tolist() == list(range(150))


def test_the_first_of_each_class_are_the_first_whatever_their_number():
    labels = np.array([1, 0, 0] * 40)  # more than a sort of small arrays takes in one go
    keep = best_of_each_class(labels, 20)
    assert np.flatnonzero(keep & (labels == 0)).tolist() == np.flatnonzero(labels == 0)[:20].tolist()
    assert np.flatnonzero(keep & (labels == 1)).tolist() == np.flatnonzero(labels == 1)[:20].tolist()
