from dataclasses import replace

import numpy as np
import pytest

from edgessd.evaluation import evaluate
from edgessd.evaluation.confusion import confusion
from edgessd.evaluation.errors import ERROR_KINDS, MULTIPLES, class_shares, group_dict
from edgessd.evaluation.groups import groups, similar
from edgessd.evaluation.sensitivity import ASPECTS, SIZES, normalised_ap, percent

BOX, HALF, TOUCH, FAR = (0, 0, 20, 20), (0, 0, 20, 12), (0, 0, 20, 5), (60, 60, 80, 80)


@pytest.mark.parametrize(
    ("objects", "found", "kinds"),
    [
        ([], [], []),
        ([], [(0, BOX, 0.9)], ["background"]),
        ([(0, BOX)], [(0, BOX, 0.9)], ["correct"]),
        ([(0, BOX)], [(0, HALF, 0.9)], ["correct"]),
        ([(0, BOX)], [(0, TOUCH, 0.9)], ["localisation"]),
        ([(0, BOX)], [(0, (0, 0, 20, 1.8), 0.9)], ["background"]),  # IoU 0.09
        ([(0, BOX)], [(0, BOX, 0.9), (0, HALF, 0.8)], ["correct", "localisation"]),  # a double
        ([(1, BOX)], [(0, TOUCH, 0.9)], ["similar"]),  # cat for dog
        ([(2, BOX)], [(0, BOX, 0.9)], ["other"]),  # cat for car
        ([(1, BOX), (2, BOX)], [(0, BOX, 0.9)], ["similar"]),  # the likelier excuse goes first
        ([(0, BOX), (1, BOX)], [(0, TOUCH, 0.9)], ["localisation"]),
        ([(0, BOX, "difficult")], [(0, BOX, 0.9)], ["left out"]),
        ([(0, BOX)], [(0, FAR, 0.9)], ["background"]),
    ],
)
def test_kinds_of_error(build, objects, found, kinds):
    kind = evaluate(*build([(objects, found)]), "voc").error_kinds.kind
    assert [(*ERROR_KINDS, "left out")[number] for number in kind] == kinds


def test_generic_classes_have_no_groups_and_are_not_alike():
    assert groups(("RBC", "WBC")) == {"all": [0, 1]}
    assert not similar(("RBC", "WBC")).any()


def test_groups_go_by_the_names_of_voc_and_coco():
    assert groups(("airplane", "cat", "couch", "person")) == {
        "all": [0, 1, 2, 3], "animals": [1], "vehicles": [0], "furniture": [2]
    }  # fmt: skip
    table = similar(("person", "cat", "aeroplane", "bird", "car", "sofa"))
    pairs = {(0, 1), (0, 3), (1, 3), (2, 3), (2, 4)}
    assert {(int(i), int(j)) for i, j in zip(*np.nonzero(table), strict=True) if i < j} == pairs
    assert (table == table.T).all() and not table.diagonal().any()


def test_curves_by_hand(build):
    # Two cats: the first is found at 0.9, then comes background, then a double, then the second cat.
    picture = ([(0, BOX), (0, FAR)], [(0, BOX, 0.9), (0, (0, 60, 9, 69), 0.8), (0, HALF, 0.7), (0, FAR, 0.6)])
    result = evaluate(*build([picture]), "voc")
    curve = result.groups[0]
    at = {count: int(np.argmin(abs(MULTIPLES - count / 2))) for count in (1, 2, 4)}  # 2 objects
    assert curve.shares[:, at[1]].tolist() == [1, 0, 0, 0, 0]
    assert curve.shares[:, at[2]].tolist() == [0.5, 0, 0, 0, 0.5]
    assert curve.shares[:, at[4]].tolist() == [0.5, 0.25, 0, 0, 0.25]
    assert curve.recall[[at[1], at[4]]].tolist() == [0.5, 1]
    assert (curve.recall <= curve.weak_recall).all()
    assert curve.shares.sum(axis=0) == pytest.approx(1)
    assert curve.wrong[:, -1].tolist() == [0.5, 0, 0, 0.5]
    assert class_shares(result.error_kinds, 0) == dict(zip(ERROR_KINDS, (0.5, 0, 0, 0, 0.5), strict=True))
    assert class_shares(result.error_kinds, 1) is None


def test_the_weak_recall_counts_touched_objects(build):
    result = evaluate(*build([([(0, BOX)], [(0, TOUCH, 0.9)])]), "voc")
    curve = result.groups[0]
    assert (curve.recall[-1], curve.weak_recall[-1]) == (0, 1)


def test_confusion_by_hand(build):
    pictures = [
        ([(0, BOX), (1, FAR)], [(0, BOX, 0.9), (0, FAR, 0.8)]),  # the dog is called a cat
        ([(1, BOX)], [(1, BOX, 0.9)]),
        ([(2, BOX)], [(0, (50, 0, 70, 20), 0.9)]),  # a car is missed, a cat seen where nothing is
        ([(0, BOX, "difficult")], [(0, BOX, 0.9)]),
    ]
    # The best F1 of cat is at 0.9; at 0.8 one right of three are too few: so the dog is just missed.
    assert evaluate(*build(pictures), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]
    ]  # fmt: skip
    pictures[0][1][1] = (0, FAR, 0.95)
    assert evaluate(*build(pictures), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("true", "objects", "normal", "expected"),
    [
        ([], 0, 10, np.nan),
        ([], 5, 10, 0),
        ([True], 1, 10, 1),
        ([True], 2, 10, 0.5),
        # wrong first, then the only object: recall 1, precision 10 / (10 + 1)
        ([False, True], 1, 10, 10 / 11),
        # 1 of 2, wrong, 2 of 2: recall 0.5 at precision 1, then 10 / 11
        ([True, False, True], 2, 10, 0.5 + 0.5 * 10 / 11),
    ],
)
def test_normalised_ap_by_hand(true, objects, normal, expected):
    assert normalised_ap(np.array(true, bool), objects, normal) == pytest.approx(expected, nan_ok=True)


def test_size_and_shape_bins_have_hoiem_s_shares_and_show_what_is_missed(build):
    # Twenty wide cats, one a picture, growing; the smallest six are never found.
    boxes = [(0, 0, 20 + 3 * n, 10 + n) for n in range(20)]
    pictures = [([(0, box)], [(0, box, 0.9)] if n >= 6 else []) for n, box in enumerate(boxes)]
    (cat,) = evaluate(*build(pictures), "voc").sensitivity
    assert [(one.name, one.objects) for one in cat.sizes] == list(zip(SIZES, (2, 4, 8, 4, 2), strict=True))
    assert [one.ap for one in cat.sizes] == pytest.approx([0, 0, 1, 1, 1])
    assert [one.name for one in cat.aspects] == list(ASPECTS)
    assert sum(one.objects for one in cat.aspects) == 20
    assert cat.ap == pytest.approx(0.7)


def test_few_objects_have_no_bins(build):
    assert evaluate(*build([([(0, BOX)], [(0, BOX, 0.9)])]), "voc").sensitivity == []


def test_objects_of_one_size_share_a_bin(build):
    result = evaluate(*build([([(0, BOX)], [(0, BOX, 0.9)])] * 12), "voc").sensitivity[0]
    assert sum(one.objects for one in result.sizes) == 12
    assert result.to_dict()["size"]["XL"]["ap_n"] is None


def test_classes_with_few_objects_do_not_shape_a_group_s_curve(build):
    many = [([(0, BOX)], [(0, BOX, 0.9)])] * 10
    rare = [([(1, BOX)], [(0, FAR, 0.1), (1, FAR, 0.9)])]
    group = evaluate(*build(many + rare), "voc").groups[0]
    assert (group.classes, group.objects) == (("cat",), 10)
    assert evaluate(*build(rare), "voc").groups[0].classes == ("cat", "dog", "car")


TENTH = (0, 0, 20, 2)  # IoU exactly 0.1 with BOX, and 0.5 with the upper half
UPPER = (0, 0, 20, 10)


@pytest.mark.parametrize(
    ("objects", "found", "kinds"),
    [
        ([(0, BOX)], [(0, UPPER, 0.9)], ["correct"]),  # IoU 0.5
        ([(0, BOX)], [(0, (0, 0, 20, 9.99), 0.9)], ["localisation"]),
        ([(0, BOX)], [(0, TENTH, 0.9)], ["localisation"]),  # IoU 0.1
        ([(0, BOX)], [(0, (0, 0, 20, 2.4), 0.9)], ["localisation"]),  # IoU 0.12
        ([(0, BOX)], [(0, (0, 0, 20, 1.99), 0.9)], ["background"]),
        ([(1, BOX)], [(0, TENTH, 0.9)], ["similar"]),
        ([(1, BOX)], [(0, (0, 0, 20, 1.99), 0.9)], ["background"]),
        ([(2, BOX)], [(0, TENTH, 0.9)], ["other"]),
        ([(2, BOX)], [(0, (0, 0, 20, 1.99), 0.9)], ["background"]),
        ([(0, BOX)], [(0, TENTH, 0.9), (0, TENTH, 0.8)], ["localisation", "localisation"]),
        ([(0, BOX, "difficult")], [(0, UPPER, 0.9), (0, UPPER, 0.8)], ["left out", "left out"]),
        ([(0, BOX, "difficult")], [(0, TENTH, 0.9)], ["localisation"]),
    ],
)
def test_hoiem_s_bounds_belong_to_the_better_kind(build, objects, found, kinds):
    kind = evaluate(*build([(objects, found)]), "voc").error_kinds.kind
    assert [(*ERROR_KINDS, "left out")[number] for number in kind] == kinds


def test_the_weak_recall_counts_an_object_once(build):
    picture = ([(0, BOX), (0, FAR)], [(0, TENTH, 0.9), (0, TOUCH, 0.8), (0, BOX, 0.7), (0, TOUCH, 0.6)])
    result = evaluate(*build([picture]), "voc")
    assert result.error_kinds.touched.tolist() == [True, False, False, False]
    assert result.error_kinds.found.tolist() == [False, False, True, False]
    curve = result.groups[0]
    assert (curve.weak_recall[-1], curve.recall[-1]) == (0.5, 0.5)
    assert curve.weak_recall[0] == 0.5 and curve.recall[0] == 0  # after the first detection


def test_difficult_objects_are_not_touched(build):
    result = evaluate(*build([([(0, BOX, "difficult"), (0, FAR)], [(0, TENTH, 0.9), (0, FAR, 0.8)])]), "voc")
    assert result.error_kinds.touched.tolist() == [False, True]


def test_wrong_detections_of_a_group_are_counted_in_their_order(build):
    wrong = [(0, (5 * n, 90, 5 * n + 3, 93), 0.9 - n / 100) for n in range(3)]  # background
    picture = ([(0, BOX)], [*wrong, (0, TENTH, 0.5), (0, BOX, 0.4)])
    curve = evaluate(*build([picture]), "voc").groups[0]
    assert curve.wrong_counts.tolist() == [1, 2, 3, 4]
    assert curve.wrong[3].tolist() == [1, 1, 1, 0.75] and curve.wrong[0].tolist() == [0, 0, 0, 0.25]
    assert curve.objects == 1 and curve.classes[0] == "cat"


def test_a_group_s_curve_is_the_mean_of_its_classes(build):
    pictures = [([(0, BOX)], [(0, BOX, 0.9)]), ([(1, BOX)], [(1, FAR, 0.9)])]
    result = evaluate(*build(pictures), "voc")
    assert result.groups[0].shares[:, -1].tolist() == [0.5, 0, 0, 0, 0.5]
    assert (result.groups[0].recall[-1], result.groups[0].objects) == (0.5, 2)
    assert MULTIPLES[[0, 12, 24]].tolist() == [1 / 8, 1, 8] and len(MULTIPLES) == 25
    plain = group_dict(result.groups[0])
    assert plain["shares"]["correct"][-1] == 0.5 and plain["wrong_shares"]["background"] == [1.0]
    assert list(plain["wrong_shares"]) == list(ERROR_KINDS[1:]) and plain["detections_per_object"][0] == 0.125


def test_shares_of_a_class_are_of_its_first_detections(build):
    picture = ([(0, BOX), (0, FAR)], [(0, BOX, 0.9), (0, TENTH, 0.8), (0, FAR, 0.7)])
    assert class_shares(evaluate(*build([picture]), "voc").error_kinds, 0)["correct"] == 0.5


def test_confusion_goes_by_iou_of_half_and_by_the_best_working_point(build):
    # Exactly 0.5 is a find; the dog beside the cat is taken for it at exactly 0.5, too.
    pictures = [([(0, BOX)], [(0, UPPER, 0.9)]), ([(1, BOX)], [(0, UPPER, 0.95)])]
    assert evaluate(*build(pictures), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]
    ]  # fmt: skip
    pictures = [([(0, BOX)], [(0, BOX, 0.9)]), ([(1, BOX, "difficult")], [(0, BOX, 0.95)])]
    assert evaluate(*build(pictures), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]
    ]  # fmt: skip


def test_confusion_finds_nothing_below_iou_of_half(build):
    found = evaluate(*build([([(0, (0, 0, 100, 100))], [(0, (0, 0, 100, 49.5), 0.9)])]), "voc")
    curve = replace(found.curves[0], true=np.ones(1, bool))  # a working point that lets it count
    assert confusion(found.flat, [curve, *found.curves[1:]]).tolist() == [
        [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]
    ]  # fmt: skip


def test_confusion_gives_each_object_one_detection(build):
    both = [([(0, BOX), (1, BOX)], [(0, BOX, 0.9), (1, BOX, 0.8)])]
    assert evaluate(*build(both), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]
    ]  # fmt: skip
    strangers = [([(2, BOX)], [(0, BOX, 0.95), (1, BOX, 0.9)]), ([(0, BOX), (1, FAR)], [(0, BOX, 0.9), (1, FAR, 0.8)])]
    assert evaluate(*build(strangers), "voc").confusion.tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]
    ]  # fmt: skip


def test_sensitivity_hits_at_iou_of_half_and_names_percent(build):
    pictures = [([(0, BOX)], [(0, UPPER, 0.9)]) for _ in range(10)]
    (cat,) = evaluate(*build(pictures), "voc").sensitivity
    assert (cat.ap, cat.objects) == (1, 10)
    assert cat.to_dict()["ap_n"] == 100 and percent(0.12345) == 12.35 and percent(float("nan")) is None
    worse = [([(0, BOX)], [(0, (0, 0, 20, 9.99), 0.9)]) for _ in range(10)]
    assert evaluate(*build(worse), "voc").sensitivity[0].ap == 0
    assert evaluate(*build(pictures[:9]), "voc").sensitivity == []


def test_tall_and_wide_objects_lie_in_their_bins(build):
    boxes = [(0, 0, 10 + n, 40 - n) for n in range(30)]
    pictures = [([(0, box)], [(0, box, 0.9)] if n < 3 else []) for n, box in enumerate(boxes)]
    (cat,) = evaluate(*build(pictures), "voc").sensitivity
    assert [one.objects for one in cat.aspects] == [3, 6, 12, 6, 3]
    assert [one.ap for one in cat.aspects] == pytest.approx([1, 0, 0, 0, 0])


def test_precision_is_normalised_by_the_mean_number_of_objects(build):
    # 12 cats and 24 dogs: N is 18. Of the cats, one detection is wrong and surest.
    cats = [([(0, BOX)], [(0, BOX, 0.5)]) for _ in range(11)] + [([(0, BOX)], [(0, FAR, 0.9), (0, BOX, 0.5)])]
    dogs = [([(1, BOX)], []) for _ in range(24)]
    cat, _ = evaluate(*build(cats + dogs), "voc").sensitivity
    assert cat.ap == pytest.approx(18 / 19)


def test_ten_objects_are_enough_for_a_group_s_curve_and_nine_are_not(build):
    ten = [([(0, BOX)], [(0, BOX, 0.9)])] * 10
    for count, classes in ((9, ("cat",)), (10, ("cat", "dog"))):
        group = evaluate(*build(ten + [([(1, BOX)], [(1, BOX, 0.9)])] * count), "voc").groups[0]
        assert group.classes == classes


def test_the_number_of_first_detections_is_rounded(build):
    result = evaluate(*build([([(0, BOX), (0, FAR)], [(0, BOX, 0.9), (0, TENTH, 0.8)])]), "voc")
    place = int(np.argmin(abs(MULTIPLES - 2**-0.25)))  # of two objects: 1.68, that is two detections
    assert result.groups[0].shares[0, place] == 0.5


def test_wrong_detections_are_looked_at_in_forty_places(build):
    wrong = [(0, (n, 90, n + 3, 93), 0.9 - n / 1000) for n in range(97)]
    curve = evaluate(*build([([(0, BOX)], wrong)]), "voc").groups[0]
    assert curve.wrong_counts.tolist() == np.unique(np.geomspace(1, 97, 40).astype(int)).tolist()


def test_plain_values_of_a_group_have_four_digits(build):
    thirds = [([(0, BOX)], [(0, BOX, 0.9)]), ([(0, BOX)], [(0, TOUCH, 0.8)]), ([(0, BOX)], [(0, FAR, 0.7)])]
    plain = group_dict(evaluate(*build(thirds), "voc").groups[0])
    assert plain["detections_per_object"][1] == 0.1487 and plain["objects"] == 3 and plain["classes"][0] == "cat"
    assert plain["shares"]["correct"][-1] == plain["recall"][-1] == 0.3333
    assert plain["weak_recall"][-1] == 0.6667
    sixths = [*thirds, ([], [(0, (n, 80, n + 2, 82), 0.6) for n in range(4)])]
    plain = group_dict(evaluate(*build(sixths), "voc").groups[0])
    assert plain["wrong_shares"]["localisation"][-1] == 0.1667 and plain["wrong_detections"][-1] == 6


def test_without_a_wrong_detection_there_is_no_curve_of_them(build):
    curve = evaluate(*build([([(0, BOX)], [(0, BOX, 0.9)])]), "voc").groups[0]
    assert curve.wrong_counts.tolist() == [] and curve.wrong.shape == (4, 0)


def test_confusion_without_detections_or_objects(build):
    assert evaluate(*build([([(0, BOX)], [])]), "voc").confusion.tolist() == [
        [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]
    ]  # fmt: skip
    assert not evaluate(*build([([], [(0, BOX, 0.9)])]), "voc").confusion.any()


def objects_per_bin(bins):
    return [each.objects for each in bins]


def test_a_hundred_and_one_sizes_lie_in_bins_by_their_percentiles(build):
    objects = [(0, (0, 0, 10, n + 1)) for n in range(101)]
    (cat,) = evaluate(*build([(objects, [])]), "voc").sensitivity
    assert objects_per_bin(cat.sizes) == [11, 20, 40, 20, 10]


def test_shapes_go_by_sides_wherever_the_object_lies_and_however_small_it_is(build):
    # As wide as high but the last three, which are wider than high; sums of corners would say otherwise.
    square = [(0, (n * 5, 0, n * 5 + 2, 2)) for n in range(8)]
    wide = [(0, (0, 50, 4, 51)), (0, (0, 60, 5, 61)), (0, (0, 70, 6, 71))]
    (cat,) = evaluate(*build([(square + wide, [])]), "voc").sensitivity
    assert objects_per_bin(cat.aspects) == [8, 0, 0, 2, 1]
    tiny = [(0, (0, 0, (n + 1) / 1000, 1 / 1000)) for n in range(10)]
    (cat,) = evaluate(*build([([*tiny, (0, (0, 0, 1, 0))], [])]), "voc").sensitivity
    assert objects_per_bin(cat.aspects) == [2, 2, 4, 2, 1]


def test_classes_without_objects_do_not_shape_the_mean_number_and_those_with_one_do(build):
    objects = [(0, (n * 10, 0, n * 10 + 5, 5)) for n in range(10)]
    found = [(0, FAR, 0.95), (0, objects[0][1], 0.9)]
    (cat,) = evaluate(*build([([*objects, (1, FAR)], found)]), "voc").sensitivity
    share = 0.1 * 5.5  # recall times the mean number of objects of cats and dogs
    assert cat.ap == pytest.approx(0.1 * share / (share + 1))
    (cat,) = evaluate(*build([(objects, found)]), "voc").sensitivity
    assert cat.ap == pytest.approx(0.1 * 1 / 2)
    assert evaluate(*build([([], [])]), "voc").sensitivity == []
