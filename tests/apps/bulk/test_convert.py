"""COCO, CSV and YOLO of a result."""

import csv
import json

import pytest

from edgessd.apps.bulk.convert import convert
from edgessd.classes.coco import COCO_IDS
from edgessd.datasets.yolo import read_yolo
from edgessd.errors import InputError, OptionError


def test_csv_has_a_line_an_object(result, rows_of, tmp_path):
    rows = rows_of(result)
    done = convert(result, "csv", tmp_path / "a.csv")
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(lines) == done.objects == sum(len(row.scores) for row in rows) > 0
    assert (done.pictures, done.failed) == (8, 5)
    first = next(row for row in rows if row.scores)
    assert lines[0]["source"] == first.path
    assert float(lines[0]["score"]) == pytest.approx(first.scores[0], abs=1e-4)
    assert float(lines[0]["x2"]) == pytest.approx(first.boxes[0][2], abs=0.01)


def test_coco_has_all_pictures_that_were_read(result, rows_of, tmp_path):
    rows = [row for row in rows_of(result) if row.error is None]
    convert(result, "coco", tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert [each["file_name"] for each in document["images"]] == [row.path for row in rows]
    assert len({each["id"] for each in document["images"]}) == 8  # a picture that is there twice counts twice
    objects = [(row, place) for row in rows for place in range(len(row.scores))]
    assert len(document["annotations"]) == len(objects)
    for entry, (row, place) in zip(document["annotations"], objects, strict=True):
        x1, y1, x2, y2 = row.boxes[place]
        assert entry["image_id"] == row.index
        assert entry["category_id"] == COCO_IDS[row.labels[place]]
        assert entry["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.01)
    names = {each["id"]: each["name"] for each in document["categories"]}
    assert names[document["annotations"][0]["category_id"]] == objects[0][0].names[objects[0][1]]


def test_yolo_is_read_again_as_the_same_boxes(result, rows_of, pictures, tmp_path):
    target = tmp_path / "yolo"
    convert(result, "yolo", target)
    (target / "images").symlink_to(pictures)
    rows = {row.path: row for row in rows_of(result) if row.error is None}
    records = {record.image.name: record for record in read_yolo(target).records}
    for path, row in rows.items():
        objects = records[path.rpartition("/")[2]].objects
        assert [each.name for each in objects] == row.names
        for each, box in zip(objects, row.boxes, strict=True):
            assert each.box == pytest.approx(box, abs=0.01)
    with pytest.raises(InputError, match="already there"):
        convert(result, "yolo", target)


def test_what_cannot_be_converted_says_so(result, tmp_path):
    with pytest.raises(OptionError, match="did you mean 'coco'"):
        convert(result, "cocoo", tmp_path / "a.json")
    with pytest.raises(InputError, match=r"no result of `edgessd bulk`"):
        convert(tmp_path, "csv", tmp_path / "a.csv")
    with pytest.raises(InputError, match="there is no folder"):
        convert(result, "csv", tmp_path / "missing" / "a.csv")
    (result / "part-00000001.parquet").unlink()
    with pytest.raises(InputError, match=r"not finished \(3 of 4 blocks\)"):
        convert(result, "csv", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_two_pictures_of_one_name_cannot_be_yolo(run_here, pictures, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "picture 0.jpg").write_bytes((pictures / "picture 1.jpg").read_bytes())
    (tmp_path / "list.txt").write_text(f"{pictures}/picture 0.jpg\n{tmp_path}/other/picture 0.jpg\n")
    run_here(tmp_path / "list.txt", tmp_path / "out")
    with pytest.raises(InputError, match="same name"):
        convert(tmp_path / "out", "yolo", tmp_path / "yolo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "other", "out"]
