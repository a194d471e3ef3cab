import io

import pytest
from rich.console import Console

from edgessd.apps.benchmark.compare import print_comparison
from edgessd.apps.benchmark.records import Row


@pytest.fixture
def compared(make_report):
    def compare(old, new):
        console = Console(file=io.StringIO(), width=300, markup=False)
        print_comparison(console, old, new)
        return console.file.getvalue()

    return compare


def test_a_slower_and_better_model_is_called_so(compared, make_report, make_row):
    text = compared(make_report(make_row(total=10.0, accuracy=30.0)), make_report(make_row(total=12.0, accuracy=33.0)))
    assert "10.00 -> 12.00 (+20 %) worse" in text
    assert "accuracy 30.00 -> 33.00 (+10 %) better" in text
    assert "file MB" not in text


def test_noise_is_neither_better_nor_worse(compared, make_report, make_row):
    text = compared(make_report(make_row(total=10.0)), make_report(make_row(total=10.3)))
    assert "10.00 -> 10.30 (+3 %)" in text
    assert "worse" not in text


def test_rows_of_one_report_alone_and_changes_of_status_are_named(compared, make_report, make_row):
    old = make_report(make_row(), make_row(model="old.onnx"))
    new = make_report(Row(model="a.onnx", runtime="onnx", threads=1, status="failed"), make_row(model="new.onnx"))
    text = compared(old, new)
    assert "ok -> failed" in text
    assert "only now: new.onnx" in text
    assert "only then: old.onnx" in text


def test_another_machine_or_other_versions_are_told(compared, make_report, make_row):
    old, new = make_report(make_row()), make_report(make_row())
    old.machines[0].versions = {"onnxruntime": "1.30"}
    new.machines[0].versions = {"onnxruntime": "1.31"}
    assert "onnxruntime 1.30 -> 1.31" in compared(old, new)
    old.machines[0].processor = "i7"
    assert "another machine then: i7" in compared(old, new)


def test_nothing_in_common(compared, make_report, make_row):
    assert "no combination is in both" in compared(make_report(), make_report(make_row()))
