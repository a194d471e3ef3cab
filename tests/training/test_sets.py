import json

import pytest

from edgessd.errors import InputError
from edgessd.training import make_config
from edgessd.training.sets import load_sets


def sets(data):
    return load_sets(make_config(data=str(data), out="out"))


def test_without_named_splits_nine_tenths_are_learnt_and_the_rest_is_measured(voc):
    for split in (voc / "ImageSets" / "Main").iterdir():
        split.unlink()
    train, rest = sets(voc)
    names = [{sample.image.name for sample in each.samples} for each in (train, rest)]
    assert names[0] and not names[0] & names[1]
    assert sum(map(len, names)) == len(list((voc / "Annotations").iterdir()))


def test_a_broken_split_is_said_and_not_replaced(voc):
    (voc / "ImageSets/Main/train.txt").write_text("missing\n")
    with pytest.raises(InputError, match="missing"):
        sets(voc)


def test_one_coco_file_is_parted_as_well(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 9, "height": 9} for i in range(40)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25} for i in range(40)]
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cup"}]}))
    for image in images:
        (tmp_path / image["file_name"]).write_bytes(b"")
    train, rest = sets(file)
    assert len(train) + len(rest) == 40 and len(rest) > 0
    with pytest.raises(InputError, match="one file and has no split 'val'"):
        load_sets(make_config(data=str(file), out="out", split="0.5", val_split="val"))
