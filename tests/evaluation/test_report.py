import json
import math

import numpy as np
import pytest

from edgessd import Detector
from edgessd.classes.class_map import ClassMap
from edgessd.errors import DependencyError, InputError, OptionError
from edgessd.evaluation import evaluate
from edgessd.evaluation.plots import write_plots
from edgessd.runtimes.fake import FakeRuntime

A, B, C, FAR = (0, 0, 20, 20), (30, 0, 60, 30), (0, 40, 40, 90), (70, 70, 90, 90)
METRICS = ["voc07", "voc", pytest.param("coco", marks=pytest.mark.filterwarnings("default"))]


@pytest.fixture(params=METRICS)
def metric(request):
    if request.param == "coco":
        pytest.importorskip("faster_coco_eval")
    return request.param


@pytest.mark.parametrize(
    ("pictures", "ap"),
    [
        ([([], [])], [math.nan] * 3),
        ([([], [(0, A, 0.9)])], [math.nan] * 3),
        ([([(0, A)], [])], [0, math.nan, math.nan]),
        ([([(0, A, "difficult")], [(0, A, 0.9)])], [math.nan] * 3),
        ([([(0, A, "crowd")], [(0, A, 0.9)])], [math.nan] * 3),
        ([([(0, A), (0, B, "difficult")], [(0, A, 0.8), (0, B, 0.9)])], [100, math.nan, math.nan]),
        ([([(0, A)], [(0, A, 0.9)]), ([], [])], [100, math.nan, math.nan]),
        ([([(0, A), (1, B)], [(0, A, 0.9), (1, FAR, 0.9)])], [100, 0, math.nan]),
    ],
)
def test_empty_and_difficult_pictures(build, metric, pictures, ap):
    result = evaluate(*build(pictures), metric)
    assert [each.ap for each in result.classes] == pytest.approx(ap, nan_ok=True)
    known = [value for value in ap if not math.isnan(value)]
    first = next(iter(result.figures.values()))
    if known:
        assert first == pytest.approx(np.mean(known))
    else:
        assert math.isnan(first)
    json.dumps(result.to_dict(), allow_nan=False)
    json.dumps(result.errors_dict(), allow_nan=False)


def test_classes_without_a_partner_are_listed_and_do_not_count(build, metric):
    truth, found = build(
        [([(0, A), (1, B), (2, C)], [(0, A, 0.9), (1, B, 0.9)])],
        classes=("aeroplane", "unicorn", "dog"),
        model_classes=("airplane", "kite", "dog"),
    )
    result = evaluate(truth, found, metric)
    assert [(each.name, each.model_name) for each in result.classes] == [("aeroplane", "airplane"), ("dog", "dog")]
    assert result.match.missing == {"unicorn": 1}
    assert result.match.unused == ("kite",)
    assert next(iter(result.figures.values())) == pytest.approx(50)
    assert result.to_dict()["not_evaluated"] == {"unicorn": 1}


def test_an_exact_name_goes_before_an_alias(build):
    truth, found = build([([(0, A)], [(1, A, 0.9)])], ("sofa",), ("couch", "sofa"))
    result = evaluate(truth, found, "voc")
    assert result.match.pairs == (("sofa", "sofa"),)
    assert result.figures["mAP"] == 100


def test_what_cannot_be_evaluated_is_said(build):
    truth, found = build([([(0, A)], [])])
    with pytest.raises(InputError, match="share no class: the data has cat, dog, car; the model has x"):
        evaluate(truth, found, "voc", model_classes=("x",))
    with pytest.raises(InputError, match="0 detections for 1 pictures"):
        evaluate(truth, [], "voc")
    with pytest.raises(InputError, match="no pictures"):
        evaluate(truth.take([]), [], "voc")
    with pytest.raises(InputError, match="no objects, so there are no classes"):
        evaluate(*build([([], [])], (), ("cat",)), "voc")
    with pytest.raises(OptionError, match="did you mean 'coco'"):
        evaluate(truth, found, "cooc")


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([], None),
        ([(0, FAR, 0.9)], None),
        ([(0, A, 0.9)], (0.9, 1, 0.5, 2 / 3)),
        ([(0, A, 0.9), (0, FAR, 0.8), (0, B, 0.7)], (0.7, 2 / 3, 1, 0.8)),
        ([(0, A, 0.9), (0, FAR, 0.9)], (0.9, 0.5, 0.5, 0.5)),  # no threshold lies between equal scores
    ],
)
def test_the_best_f1(build, found, best):
    result = evaluate(*build([([(0, A), (0, B)], found)]), "voc").classes[0].best
    assert result == (None if best is None else pytest.approx(best, abs=1e-6))


@pytest.mark.parametrize(
    "pictures",
    [
        [([], [])],
        [([(0, A)], [])],
        [([(0, A)], [(0, A, 0.9)])],
        [([(0, A), (1, B)], [(0, A, 0.9), (1, A, 0.8), (0, FAR, 0.7), (2, FAR, 0.7)])],
    ],
)
def test_sheets_are_drawn_of_whatever_there_is(build, tmp_path, pictures):
    pytest.importorskip("matplotlib")
    written = write_plots(evaluate(*build(pictures), "voc07"), tmp_path / "plots")
    assert all(path.stat().st_size > 1000 for path in written)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(path.name for path in written)
    if pictures[0][0] and pictures[0][1]:
        assert {"precision_recall.png", "confusion.png", "errors.png"} <= {path.name for path in written}


def test_without_matplotlib_the_pip_command_is_said(build, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[eval\]'"):
        write_plots(evaluate(*build([([(0, A)], [])]), "voc07"), tmp_path)


def test_many_classes_are_drawn_too(build, tmp_path, rng):
    pytest.importorskip("matplotlib")
    classes = tuple(f"class {n}" for n in range(32))
    boxes = np.concatenate([rng.uniform(0, 40, (64, 2)), rng.uniform(50, 99, (64, 2))], axis=1)
    objects = [(n % 32, tuple(box)) for n, box in enumerate(boxes)]
    pictures = [([one], [(one[0], one[1], 0.9), ((one[0] + 1) % 32, one[1], 0.95)]) for one in objects]
    written = write_plots(evaluate(*build(pictures, classes), "voc"), tmp_path)
    assert {"precision_recall.png", "confusion.png"} <= {path.name for path in written}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_title_and_legend_of_the_error_sheet_are_not_cut_off(build, count):
    pytest.importorskip("matplotlib")
    from dataclasses import replace

    from edgessd.evaluation.plots import error_sheet

    result = evaluate(*build([([(0, A), (1, B)], [(0, A, 0.9), (1, A, 0.8), (0, FAR, 0.7)])]), "voc07")
    curve = result.groups[0]
    curves = [replace(curve, classes=(*curve.classes, f"{number}")) for number in range(count)]
    result.__dict__["groups"] = curves  # as many columns as that
    figure = error_sheet(result)
    figure.draw_without_rendering()
    for part in (figure._suptitle, figure.legends[0]):
        box = part.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_printing_a_report_is_readable(build):
    pictures = [([(0, (10, 10, 30, 30))], [(0, (10, 10, 30, 30), 0.9)])] * 50
    result = evaluate(*build(pictures), "voc")
    assert repr(result) == "<Evaluation voc on 50 pictures, 1 classes: mAP 100.00>"
    assert str(result).splitlines() == [
        "voc on 50 pictures, 1 classes: mAP 100.00",
        "cat      50 objects  AP 100.0",
        "dog       0 objects  AP     -",
        "car       0 objects  AP     -",
    ]


def test_the_lines_of_classes_are_as_wide_as_the_longest_name_and_one_object_is_measured(build):
    result = evaluate(*build([([(0, A)], [(0, A, 0.9)])], ("ox", "sheep", "cat")), "voc")
    first, *lines = str(result).splitlines()
    assert first == "voc on 1 pictures, 1 classes: mAP 100.00"
    assert lines[0] == "ox          1 objects  AP 100.0" and len({len(line) for line in lines}) == 1


def test_plain_values_have_three_digits_of_percent_and_four_of_shares(build):
    found = [(0, A, 0.87654), (0, FAR, 0.99), (0, C, 0.98)]
    result = evaluate(*build([([(0, A), (0, B)], found)]), "voc")
    plain = result.to_dict()
    assert plain["figures"] == {"mAP": 16.667}
    assert plain["classes"][0]["best_f1"] == {"score": 0.8765, "precision": 0.3333, "recall": 0.5, "f1": 0.4}
    found = [(0, A, 0.9), (0, B, 0.8), (0, C, 0.7)]
    objects = [(0, A), (0, B), (0, FAR)]
    shares = evaluate(*build([(objects, found)]), "voc").errors_dict()["classes"]["cat"]
    assert (shares["correct"], shares["background"]) == (0.6667, 0.3333)


@pytest.mark.parametrize(("metric", "ap"), [("voc", 50.0), ("voc07", 600 / 11)])
def test_eleven_points_are_those_of_2007_alone(build, metric, ap):
    result = evaluate(*build([([(0, A), (0, B)], [(0, A, 0.9)])]), metric)
    assert result.figures["mAP"] == pytest.approx(ap)


def test_the_models_classes_are_those_given_or_the_first_detections(build):
    truth, (one, other) = build([([(0, A)], [(0, A, 0.9)])] * 2)
    other = other.under(ClassMap(other.classes, ("cat", "kite")))
    assert evaluate(truth, [one, other], "voc").match.unused == ()
    assert evaluate(truth, [other, one], "voc").match.unused == ("kite",)
    assert evaluate(truth, [one, other], "voc", model_classes=("cat", "owl")).match.unused == ("owl",)


@pytest.mark.parametrize(("given", "unused"), [(None, ("kite",)), (("cat", "owl"), ("owl",))])
def test_a_detectors_classes_are_those_given_or_its_own(build, monkeypatch, given, unused):
    truth, found = build([([(0, A)], [(0, A, 0.9)])])
    monkeypatch.setattr("edgessd.evaluation.report.detect_all", lambda *_: found)
    detector = Detector(FakeRuntime(classes=("cat", "kite")))
    assert evaluate(truth, detector, "voc", model_classes=given).match.unused == unused
