import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgessd.apps.camera.frame_log import JsonDocument, check_log_target, csv_lines, json_lines
from edgessd.errors import InputError, OptionError

DOG = ("dog", 0.7, (50, 50, 80, 80.004), 3)
CAT = ("car", 0.9, (1, 2, 3, 4), None)


def test_lines_are_there_at_once(make_result: Any, tmp_path: Path) -> None:
    log = json_lines(str(tmp_path / "o.jsonl"), live=False)
    result = make_result(5, [DOG, CAT])
    result.counts = {"door": {"in": 2, "out": 0}}
    log.add(result, result.frame.image)
    deadline = time.monotonic() + 5
    while not (text := (tmp_path / "o.jsonl").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert json.loads(text) == {
        "index": 5,
        "time": 0.5,
        "objects": [
            {"name": "dog", "label": 1, "score": 0.7, "box": [50.0, 50.0, 80.0, 80.0], "id": 3},
            {"name": "car", "label": 2, "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0], "id": None},
        ],
        "milliseconds": {"capture": 1.0, "preprocess": 1.0, "run": 2.0, "postprocess": 3.0},
        "counts": {"door": {"in": 2, "out": 0}},
    }
    log.close()


def test_csv_has_one_line_per_object(make_result: Any, tmp_path: Path) -> None:
    log = csv_lines(str(tmp_path / "o.csv"), live=False)
    for index, objects in enumerate([[DOG, CAT], [], [DOG]]):
        result = make_result(index, objects)
        log.add(result, result.frame.image)
    log.close()
    rows = list(csv.reader(io.StringIO((tmp_path / "o.csv").read_text())))
    assert rows[0] == ["frame", "time", "name", "label", "score", "x1", "y1", "x2", "y2", "id"]
    assert rows[1:3] == [
        ["0", "0.0", "dog", "1", "0.7", "50.0", "50.0", "80.0", "80.0", "3"],
        ["0", "0.0", "car", "2", "0.9", "1.0", "2.0", "3.0", "4.0", ""],
    ]
    assert [row[0] for row in rows[1:]] == ["0", "0", "2"]


def test_terminal(make_result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log = json_lines("-", live=True)
    log.add(make_result(0, [DOG], wall=0.0), None)  # type: ignore[arg-type]
    log.close()
    assert json.loads(capsys.readouterr().out)["time"] == "1970-01-01T00:00:00.000+00:00"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_document_is_written_at_the_end(make_result: Any, tmp_path: Path, count: int) -> None:
    document = JsonDocument(tmp_path / "o.json", live=False)
    for index in range(count):
        document.log.add(make_result(index, [DOG] * index), None)  # type: ignore[arg-type]
    waiting = [path.name for path in tmp_path.iterdir()]  # beside the target: /tmp may be small, or not there
    assert len(waiting) == 1 and waiting[0].startswith(".o.edgessd-") and waiting[0].endswith(".jsonl")
    document.log.close()
    document.write({"source": "ä \udcff", "summary": {"frames": count}})
    if count == 0:
        assert list(tmp_path.iterdir()) == []
        return
    found = json.loads((tmp_path / "o.json").read_text())
    assert list(found) == ["source", "summary", "frames"]
    assert [len(entry["objects"]) for entry in found["frames"]] == list(range(count))
    assert [path.name for path in tmp_path.iterdir()] == ["o.json"]


def test_document_that_cannot_be_written_leaves_its_frames(make_result: Any, tmp_path: Path) -> None:
    document = JsonDocument(tmp_path / "o.json", live=False)
    document.log.add(make_result(7, [DOG]), None)  # type: ignore[arg-type]
    document.log.close()
    (tmp_path / "o.json").mkdir()
    with pytest.raises(InputError, match=r"o\.recovered\.jsonl"):
        document.write({})
    assert json.loads((tmp_path / "o.recovered.jsonl").read_text())["index"] == 7


@pytest.mark.parametrize("kind", [json_lines, csv_lines])
def test_logs_of_a_live_source_go_on_after_a_restart(make_result: Any, tmp_path: Path, kind: Any) -> None:
    path = tmp_path / ("o.jsonl" if kind is json_lines else "o.csv")
    for _ in range(3):
        log = kind(str(path), live=True)
        log.add(make_result(0, [DOG]), None)
        log.close()
        with path.open("a") as file:
            file.write("half a li")  # of a run that was killed
    lines = path.read_text().splitlines()
    assert len(lines) == 3 + (kind is csv_lines) + 1
    log = kind(str(path), live=False)  # a file is played again from its beginning
    log.close()
    assert len(path.read_text().splitlines()) == (kind is csv_lines)


def test_a_log_does_not_go_on_in_somebody_elses_table(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("name,price\napple,1\n")
    with pytest.raises(InputError, match="other columns"):
        csv_lines(str(tmp_path / "o.csv"), live=True)
    assert (tmp_path / "o.csv").read_text() == "name,price\napple,1\n"


def test_full_disk_is_an_error_of_the_log_alone(make_result: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    log = json_lines("/dev/full", live=True)
    with pytest.raises(InputError, match="No space left"):
        for index in range(200):
            log.add(make_result(index, [DOG]), None)  # type: ignore[arg-type]
            time.sleep(0.005)
    with pytest.raises((InputError, OSError)):
        log.close()


@pytest.mark.parametrize(
    ("target", "kind"), [("o.txt", OptionError), ("no/such/folder/o.json", InputError), (".", InputError)]
)
def test_targets_that_cannot_be(target: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        check_log_target("--json", target, (".json", ".jsonl"))
    check_log_target("--json", "-", (".json",))
