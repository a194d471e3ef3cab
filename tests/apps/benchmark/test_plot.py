import pytest

from edgessd._cv2 import cv2
from edgessd.apps.benchmark.paper import add_published
from edgessd.apps.benchmark.plot import _front, write_plot
from edgessd.errors import InputError

pytest.importorskip("matplotlib")


def test_accuracy_against_time_and_without_accuracy_the_stages(tmp_path, report):
    for name in ("accuracy.png", "stages.png"):
        write_plot(report, tmp_path / name)
        picture = cv2.imread(str(tmp_path / name))
        assert picture.shape[1] > 900
        assert (picture != 255).any(axis=2).mean() > 0.005
        for row in report.rows:
            row.accuracy = {}


def test_published_rows_and_phones_have_fewer_stages(tmp_path, make_report, make_row):
    phone, ours = make_row(runtime="litert"), make_row()
    phone.stages = {name: phone.stages[name] for name in ("run", "total")}
    report = make_report(phone, ours)
    add_published(report)
    write_plot(report, tmp_path / "stages.png")
    ours.accuracy = {"AP": 30.0}
    write_plot(report, tmp_path / "accuracy.png")
    assert len(list(tmp_path.iterdir())) == 2


def test_the_line_joins_what_nothing_beats(make_row):
    fast, good, beaten = (
        make_row(total=5.0, accuracy=30.0),
        make_row(total=9.0, accuracy=35.0),
        make_row(total=8.0, accuracy=29.0),
    )
    assert _front([good, beaten, fast]) == [fast, good]


def test_nothing_measured_is_nothing_to_plot(tmp_path, make_report, report):
    with pytest.raises(InputError, match="nothing to plot"):
        write_plot(make_report(*report.rows[2:]), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
