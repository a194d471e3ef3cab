import csv
import io

import pytest
from rich.console import Console

from edgessd.apps.benchmark.records import Report, read_report
from edgessd.apps.benchmark.tables import markdown_table, print_report, to_csv, to_markdown
from edgessd.errors import InputError


def printed(report, width):
    console = Console(file=io.StringIO(), width=width, markup=False)
    print_report(console, report)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_every_width_and_loses_nothing(report, width):
    text = printed(report, width)
    table = text.partition("milliseconds for one picture")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    for part in ("10.00", "14.00", "12.00", "15.00", "30.0", "31.0", "100.0", "not present", "failed", "noisy", "62"):
        assert part in table, part
    for part in ("no provider 'cuda'", "crashed: SIGSEGV", "Cortex-A72; 4 cores", "far above the median"):
        assert part in text, part


def test_columns_without_content_are_left_out(make_report, make_row):
    text = printed(make_report(make_row()), 200)
    for absent in ("machine", "batch", "note", "AP"):
        assert absent not in text.partition("milliseconds")[0]
    other = make_row(batch=8)
    other.machine = "pi"
    text = printed(make_report(make_row(), other), 200)
    assert "batch" in text
    assert "pi" in text


def test_csv_has_every_figure_of_every_row(report):
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == 4
    assert rows[0]["total_median"] == "10.0"
    assert rows[0]["run_p99"] == "10.0"
    assert rows[1]["AP"] == "31.0"
    assert rows[0]["temperature"] == "61.5"
    assert rows[2]["status"] == "absent"
    assert rows[3]["reason"] == "crashed: SIGSEGV"
    assert rows[3]["total_median"] == rows[3]["AP"] == ""


def test_markdown_is_one_table(report):
    report.rows[3].reason = "a | b"
    lines = to_markdown(report).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 4
    assert {line.replace("\\|", "").count("|") for line in table} == {table[0].count("|")}
    assert "not present: no provider 'cuda'" in table[4]
    assert "a \\| b" in table[5]


def test_models_of_one_file_name_are_told_apart(make_report, make_row):
    models = ("here/fp32/m.onnx", "here/int8/m.onnx", "other.onnx", "paper:SSD300", "bundled", "C:\\a\\b.tflite")
    report = make_report(*(make_row(model=model) for model in models))
    report.name_models()
    names = ["fp32/m.onnx", "int8/m.onnx", "other.onnx", "SSD300", "bundled", "b.tflite"]
    assert [row.name for row in report.rows] == names


def test_a_report_of_another_machine_cannot_write_to_the_terminal(report, tmp_path):
    report.rows[0].notes = ["\x1b]0;mine\x07"]
    report.machines[0].system = "a\nb"
    (tmp_path / "a.json").write_text(report.to_json())
    read = read_report(tmp_path / "a.json")
    assert "\x1b" not in read.rows[0].notes[0]
    assert read.machines[0].system == "a?b"


def test_json_is_read_back_as_it_was(report, tmp_path):
    (tmp_path / "a.json").write_text(report.to_json())
    assert read_report(tmp_path / "a.json") == report


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"model": 3}]}', '{"schema": 2}', "[" * 100_000])
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="no report"):
        read_report(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


def test_an_empty_report_is_printed(make_report):
    assert "Cortex" in printed(make_report(), 80)
    assert to_csv(Report()).count("\n") == 1


def test_every_key_is_a_column_and_what_is_missing_is_empty():
    rows = [{"name": "a", "ms": 1.5}, {"name": "b|c", "note": None}]
    assert markdown_table(rows).splitlines() == [
        "| name | ms | note |",
        "|---|---|---|",
        "| a | 1.5 |  |",
        "| b\\|c |  | None |",
    ]
