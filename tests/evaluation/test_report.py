import json
import math

import numpy as np
import pytest

from edgessd.errors import DependencyError, InputError, OptionError
from edgessd.evaluation import evaluate
from edgessd.evaluation.plots import write_plots

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
