import gc
import json
from dataclasses import replace

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import load_coco, load_voc
from edgessd.errors import InputError
from edgessd.evaluation import coco
from edgessd.evaluation.coco import coco_ap, coco_figures


@pytest.fixture
def labelled(tmp_path):
    pytest.importorskip("faster_coco_eval")
    (tmp_path / "a.webp").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    document = {
        "images": [{"id": 5, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 7, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        ],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    return path, tmp_path


def detections(boxes, labels):
    count = len(labels)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.array(labels, np.int64),
        ("dog", "cat", "cow"),
        (100, 100),
    )


def test_classes_are_matched_by_name_and_strangers_left_out(labelled):
    truth = load_coco(*labelled)
    assert truth.classes == ("cat", "dog")
    assert [sample.image.name for sample in truth.samples] == ["a.webp", "b.png"]
    perfect = [detections([[0, 0, 50, 50], [1, 1, 9, 9]], [1, 2]), detections([[10, 10, 30, 30]], [0])]
    values = coco_ap(truth, perfect)
    assert values["AP"] == pytest.approx(100)
    half = coco_ap(truth, [perfect[0], detections([], [])])
    assert half["AP"] == pytest.approx(50)
    assert coco_ap(truth, [detections([], [])] * 2)["AP"] == 0


def test_ids_limit_the_pictures(labelled):
    assert [sample.image_id for sample in load_coco(*labelled, ids=[9]).samples] == [9]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not a COCO"), ("[]", "not a COCO"), ("{}", "not a COCO"), ('{"images": 1}', "not a COCO")],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_coco(path, tmp_path)


def test_missing_pictures_and_files_are_named(labelled):
    path, folder = labelled
    (folder / "b.png").unlink()
    with pytest.raises(InputError, match="no picture b"):
        load_coco(path, folder)
    with pytest.raises(InputError, match="cannot be read"):
        load_coco(folder / "missing.json", folder)


def test_voc_corners_are_one_based_and_inclusive(tmp_path):
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("x\n")
    (tmp_path / "JPEGImages/x.webp").write_bytes(b"")
    (tmp_path / "Annotations/x.xml").write_text(
        "<annotation><object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
        "<xmax>10</xmax><ymax>20</ymax></bndbox></object><object><name>tree</name><bndbox><xmin>1</xmin>"
        "<ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"
    )
    everything = load_voc(tmp_path, "val")
    assert everything.classes == ("cat", "tree")
    only = load_voc(tmp_path, "val", ["cat"]).samples[0]
    assert only.boxes.tolist() == [[0, 1, 10, 20]]
    assert only.difficult.tolist() == [True]
    assert only.area.tolist() == [190]
    with pytest.raises(InputError, match=r"train\.txt"):
        load_voc(tmp_path, "train")


def test_the_ap_of_a_class_is_no_number_where_its_objects_do_not_count(labelled):
    truth = load_coco(*labelled)
    none = [detections([], [])] * 2
    for flag in ("difficult", "crowd"):
        samples = [replace(each, **{flag: each.labels == 0}) for each in truth.samples]
        for found in (none, [detections([[0, 0, 50, 50]], [0]), none[0]]):
            _, by_class = coco_figures(replace(truth, samples=tuple(samples)), found)
            assert np.isnan(by_class["cat"]) and by_class["dog"] == 0


def test_the_search_for_cycles_is_paused_and_goes_on_as_before():
    assert gc.isenabled()
    with coco._no_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with coco._no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
