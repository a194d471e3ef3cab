"""Pairs of detections and objects, by hand and against plain loops."""

import numpy as np
import pytest

from edgessd.evaluation import matching
from edgessd.evaluation.matching import best_object, box_area, first_claims, flatten, pair_iou


def rows(*boxes):
    return np.array(boxes, np.float64).reshape(-1, 4)


def test_iou_of_pairs_by_hand():
    first = rows((0, 0, 2, 2), (0, 0, 2, 2), (1, 2, 5, 4), (0, 0, 0, 0), (3, 3, 1, 1), (0, 0, 2, 8))
    second = rows((0, 0, 2, 2), (3, 3, 4, 4), (3, 1, 9, 4), (0, 0, 0, 0), (0, 0, 5, 5), (1, 4, 3, 9))
    expected = [1, 0, 4 / 22, 0, 0, 4 / 22]
    assert pair_iou(first, second).tolist() == pytest.approx(expected)
    assert pair_iou(second, first).tolist() == pytest.approx(expected)
    assert box_area(rows((1, 2, 5, 4), (3, 3, 1, 1), (1, 3, 3, 1))).tolist() == [8, 0, 0]


def test_sides_below_a_pixel_count_as_they_are():
    unit = rows((0, 0, 1, 1))
    for half in (rows((0.5, 0, 1.5, 1)), rows((0, 0.5, 1, 1.5))):
        assert pair_iou(unit, half).tolist() == pytest.approx([1 / 3])
    for apart in (rows((1.5, 0, 2.5, 1)), rows((0, 1.5, 1, 2.5))):
        assert pair_iou(unit, apart).tolist() == [0]
    assert box_area(rows((0, 0, 0.5, 4), (0, 0, 4, 0.5), (0.5, 0, 0, 4), (0, 0.5, 4, 0))).tolist() == [2, 2, 0, 0]


def test_the_first_to_claim_an_object_is_the_surest():
    hit = np.array([True, False, True, True, True])
    assert first_claims(hit, np.array([2, 0, 2, 0, 0])).tolist() == [True, False, False, True, False]
    assert first_claims(np.zeros(2, bool), np.array([0, 0])).tolist() == [False, False]


def random_pictures(rng, count=12):
    pictures = []
    for _ in range(count):
        low = rng.integers(0, 12, (rng.integers(0, 7), 2))
        objects = [(int(rng.integers(0, 3)), (*each, *(each + rng.integers(1, 9, 2)))) for each in low]
        low = rng.integers(0, 12, (rng.integers(0, 9), 2))
        found = [
            (int(rng.integers(0, 3)), (*each, *(each + rng.integers(1, 9, 2))), float(rng.choice([0.3, 0.5, 0.7])))
            for each in low
        ]
        pictures.append((objects, found))
    return pictures


def plain(flat, allows):
    """The best object of each detection by two loops: the first of the highest overlap above 0."""
    best, which = np.zeros(len(flat.label)), np.full(len(flat.label), -1)
    for detection in range(len(flat.label)):
        for thing in range(len(flat.object_label)):
            if flat.image[detection] == flat.object_image[thing] and allows(
                flat.label[detection], flat.object_label[thing]
            ):
                value = pair_iou(flat.box[detection : detection + 1], flat.object_box[thing : thing + 1])[0]
                if value > best[detection]:
                    best[detection], which[detection] = value, thing
    return best, which


@pytest.mark.parametrize("pairs", [1, 5, 4_000_000])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_object_is_that_of_plain_loops(build, monkeypatch, pairs, seed):
    monkeypatch.setattr(matching, "_PAIRS", pairs)
    flat = flatten(*build(random_pictures(np.random.default_rng(seed))))
    table = np.array([[True, False, True], [False, False, True], [True, True, False]])
    cases = [
        ({}, lambda mine, theirs: mine == theirs),
        ({"same_class": False}, lambda mine, theirs: mine != theirs),
        ({"allowed": table}, lambda mine, theirs: table[mine, theirs]),
        ({"allowed": table, "same_class": False}, lambda mine, theirs: table[mine, theirs]),
    ]
    for options, allows in cases:
        for got, expected in zip(best_object(flat, **options), plain(flat, allows), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_detections_are_sorted_over_all_pictures_and_equal_ones_keep_their_order(build):
    pictures = [([(0, (0, 0, 5, 5))], [(0, (n, 0, n + 5, 5), 0.5), (1, (n, 1, n + 5, 5), 0.9)]) for n in range(30)]
    flat = flatten(*build(pictures))
    assert flat.score.tolist() == pytest.approx([0.9] * 30 + [0.5] * 30)
    assert flat.image.tolist() == [*range(30), *range(30)]
    assert flat.label.tolist() == [1] * 30 + [0] * 30
    assert flat.box[:, 0].tolist() == [*range(30), *range(30)]
    assert flat.object_image.tolist() == list(range(30)) and flat.num_classes == 3
    assert flat.counts.tolist() == [30, 0, 0]


def test_difficult_objects_and_crowds_are_not_counted(build):
    flat = flatten(*build([([(0, (0, 0, 5, 5), "difficult"), (0, (0, 0, 5, 5), "crowd"), (0, (0, 0, 5, 5))], [])]))
    assert flat.ignored.tolist() == [True, True, False] and flat.counts.tolist() == [1, 0, 0]


def test_without_detections_or_objects_there_are_no_pairs(build):
    for pictures in ([], [([], [])], [([(0, (0, 0, 5, 5))], [])], [([], [(0, (0, 0, 5, 5), 0.5)])]):
        flat = flatten(*build(pictures))
        best, which = best_object(flat)
        assert best.tolist() == [0.0] * len(flat.label) and which.tolist() == [-1] * len(flat.label)


def test_of_many_objects_with_one_overlap_the_first_answers(build):
    objects = [(n % 2, (0, 0, 5, 5)) for n in range(60)]
    _, which = best_object(flatten(*build([(objects, [(0, (0, 0, 5, 5), 0.9), (1, (0, 0, 5, 5), 0.8)])])))
    assert which.tolist() == [0, 1]


@pytest.mark.parametrize(("limit", "blocks"), [
    (4, [[0, 1], [2, 3], [4, 5], [6]]),
    (3, [[0], [1], [2], [3, 4], [5], [6]]),
    (5, [[0, 1], [2, 3, 4], [5, 6]]),
    (100, [[0, 1, 2, 3, 4, 5, 6]]),
    (1, [[0], [1], [2], [3], [4], [5], [6]]),
])  # fmt: skip
def test_as_many_detections_at_a_time_as_their_pairs_fit(build, monkeypatch, limit, blocks):
    counts = [1, 3, 3, 1, 1, 2, 3]  # pairs of each detection
    box = (0, 0, 5, 5)
    pictures = [([(0, box)] * count, [(0, box, 0.9 - n / 100)]) for n, count in enumerate(counts)]
    done = []
    monkeypatch.setattr(matching, "_PAIRS", limit)
    monkeypatch.setattr(matching, "_best_of", lambda flat, rows, *_: done.append(rows.tolist()))
    best_object(flatten(*build(pictures)))
    assert done == blocks
