import json

import numpy as np
import pytest

from edgessd.datasets import load_dataset
from edgessd.datasets.split import fraction
from edgessd.datasets.yaml import read_yaml
from edgessd.errors import InputError, OptionError

CAT, DOG = ("cat", (1, 2, 10, 20)), ("dog", (5, 5, 30, 40))


def names(data):
    return [sample.image.stem for sample in data.samples]


def test_a_picture_without_objects_is_a_sample_without_boxes(make):
    root = make.voc({"a": [], "b": [CAT]})
    data = load_dataset(root, "train")
    assert [sample.boxes.shape for sample in data.samples] == [(0, 4), (1, 4)]
    assert data.samples[0].labels.dtype == np.int64
    assert data.samples[0].size == (64, 48)


def test_one_picture_without_objects_is_a_data_set(make):
    data = load_dataset(make.voc({"a": []}))
    assert (len(data), data.classes) == (1, ())


def test_voc_keeps_difficult_and_counts_corners_from_one(make):
    root = make.voc({"a": [CAT, (*DOG, 1)]})
    sample = load_dataset(root, "train").samples[0]
    assert sample.boxes.tolist() == [[0, 1, 10, 20], [4, 4, 30, 40]]
    assert sample.difficult.tolist() == [False, True]
    assert sample.source == root / "Annotations/a.xml"


def test_coco_keeps_crowds_and_ids(make):
    root = make.coco({"a": [("cat", [1, 2, 10, 20])], "b": [("dog", [0, 0, 5, 5])]})
    path = root / "annotations/instances_train.json"
    document = json.loads(path.read_text())
    document["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(document))
    data = load_dataset(root, "train")
    assert (data.classes, data.category_ids) == (("cat", "dog"), (5, 7))
    assert data.samples[0].boxes.tolist() == [[1, 2, 11, 22]]
    assert [sample.crowd.tolist() for sample in data.samples] == [[False], [True]]
    assert [sample.image_id for sample in data.samples] == [100, 101]
    assert names(load_dataset(path)) == ["a", "b"]


def test_yolo_boxes_are_scaled_to_the_picture_and_polygons_boxed(make):
    root = make.yolo({"a": "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.75 0.25 0.5 0.5\n", "b": None})
    data = load_dataset(root, "train")
    assert data.samples[0].boxes.tolist() == [[16, 12, 48, 36], [16, 12, 48, 24]]
    assert data.samples[0].labels.tolist() == [0, 1]
    assert len(data.samples[1]) == 0


@pytest.mark.parametrize(
    "layout",
    ["", "VOCdevkit/VOC2012", "VOC2007"],
)
def test_voc_is_found_from_above(make, layout):
    make.voc({"a": [CAT]}, layout)
    assert names(load_dataset(make.folder, "train")) == ["a"]


def test_xml_files_beside_their_pictures(make):
    root = make.voc({"a": [CAT], "b": [DOG]})
    flat = make.folder / "flat"
    flat.mkdir()
    for path in [*(root / "Annotations").iterdir(), *(root / "JPEGImages").iterdir()]:
        path.rename(flat / path.name)
    assert names(load_dataset(flat)) == ["a", "b"]
    assert len(load_dataset(flat, "0.5")) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".PNG"])
def test_pictures_are_found_whatever_their_suffix(make, suffix):
    root = make.voc({"a.b": [CAT]}, suffix=suffix)
    assert load_dataset(root, "train").samples[0].image.name == f"a.b{suffix}"


@pytest.mark.parametrize(
    "yaml", ["train: images/train\n", "train: ../train/images\n", "path: /home/me/x\ntrain: images/train\n"]
)
@pytest.mark.parametrize(
    "listed",
    [
        "names: [cat, dog]",
        "names: ['cat', \"dog\"]",
        "names:\n  0: cat\n  1: dog",
        "names:\n- cat\n- dog # x",
        "nc: 2 # two\nnames: {0: cat, 1: 'dog'}",
        "names: [cat,\n  dog]",
        "names: [cat, dog]\ntest:\ndownload: |\n  import os  # as it comes with many sets\n  names: [a, b]",
        "names: [cat, dog]\ntest: ''\nval: null",
    ],
)
def test_data_yaml(make, yaml, listed):
    root = make.yolo({"a": "1 0.5 0.5 1 1"}, names=f"# a comment\n{yaml}{listed}\n")
    data = load_dataset(root, "train")
    assert data.classes == ("cat", "dog")
    assert data.samples[0].labels.tolist() == [1]
    assert load_dataset(root / "data.yaml", "train").classes == ("cat", "dog")


def test_roboflow_calls_the_val_split_valid(make):
    root = make.yolo({"a": "1 0.5 0.5 1 1"})
    (root / "valid").mkdir()
    (root / "images/train").rename(root / "valid/images")
    (root / "labels/train").rename(root / "valid/labels")
    assert len(load_dataset(root, "val").samples[0]) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train", None), ("2012", None), ("v1.0", None), (":", None), ("", None),
        ("0.8", (0, 0.8)), (".8", (0, 0.8)), ("0.8:", (0.8, 1)), (":0.2", (0, 0.2)),
        ("0.25:0.5", (0.25, 0.5)), ("1.0", (0, 1)),
    ],
)  # fmt: skip
def test_fractions(text, expected):
    assert fraction(text) == expected


@pytest.mark.parametrize("text", ["0.0", "1.5", "0.5:0.5", "0.8:0.2", "1:"])
def test_fractions_that_are_none(text):
    with pytest.raises(OptionError, match=r"no part of 0\.\.1"):
        fraction(text)


def test_fractions_complement_each_other_and_depend_on_names_and_seed_only(make):
    root = make.voc({f"p{n:02}": [CAT] for n in range(20)})
    first, rest = names(load_dataset(root, "0.8")), names(load_dataset(root, "0.8:"))
    assert (len(first), len(rest)) == (16, 4)
    assert sorted(first + rest) == names(load_dataset(root))
    assert names(load_dataset(root, "0.8")) == first
    assert names(load_dataset(root, "0.8", seed=1)) != first
    with pytest.raises(InputError, match="no pictures"):
        load_dataset(root, "0.001")


def test_a_list_of_names_is_a_split(make):
    root = make.voc({"a": [CAT], "b": [DOG], "c": [CAT]})
    chosen = make.folder / "mine.txt"
    chosen.write_text("JPEGImages/c.png\na\n")
    assert names(load_dataset(root, str(chosen))) == ["c", "a"]
    chosen.write_text("d\n")
    with pytest.raises(InputError, match="1 pictures that the data set does not have, such as 'd'"):
        load_dataset(root, str(chosen))
    with pytest.raises(InputError, match="no list of pictures"):
        load_dataset(root, "nowhere.txt")


def test_classes_limit_order_and_meet_by_alias(make, tmp_path):
    root = make.voc({"a": [CAT, DOG, ("aeroplane", (1, 1, 5, 5))]})
    data = load_dataset(root, "train", classes=["dog", "airplane", "unicorn"])
    assert data.classes == ("dog", "aeroplane", "unicorn")
    assert data.samples[0].labels.tolist() == [0, 1]
    listed = tmp_path / "classes.txt"
    listed.write_text("cat\n\ndog\n")
    assert load_dataset(root, "train", classes=listed).classes == ("cat", "dog")
    with pytest.raises(OptionError, match="none of the classes"):
        load_dataset(root, "train", classes=["zebra"])
    with pytest.raises(OptionError, match="named twice"):
        load_dataset(root, "train", classes=["cat", "cat"])


def test_several_sets_are_one_with_classes_merged_by_name(make):
    one = make.voc({"a": [CAT, ("aeroplane", (1, 1, 5, 5))]}, "VOC2007")
    two = make.voc({"a": [DOG], "b": [CAT]}, "VOC2012")
    three = make.coco({"c": [("airplane", [1, 1, 5, 5]), ("zebra", [1, 1, 5, 5])]}, "coco")
    data = load_dataset(f"{one}+{two}", "train")
    assert data.classes == ("aeroplane", "cat", "dog")
    assert [sample.image_id for sample in data.samples] == [1, 2, 3]
    assert [sample.image.parts[-3] for sample in data.samples] == ["VOC2007", "VOC2012", "VOC2012"]
    mixed = load_dataset([one, three], "train")
    assert mixed.classes == ("aeroplane", "cat", "zebra")
    assert mixed.samples[1].labels.tolist() == [0, 2]
    with pytest.raises(InputError, match=r"several data sets.*VOC2007\+"):
        load_dataset(make.folder, "train")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\..\\a", "a\0b"])
def test_names_cannot_leave_the_data_set(make, name):
    root = make.voc({"a": [CAT]}, "inner")
    make.picture("etc/passwd.png")
    make.picture("a.png")
    (root / "ImageSets/Main/train.txt").write_text(f"{name}\n")
    (root / "Annotations/passwd.xml").write_text("<annotation><filename>../../etc/passwd.png</filename></annotation>")
    try:
        data = load_dataset(root, "train")
    except InputError:
        return
    assert all(sample.image.resolve().is_relative_to(root.resolve()) for sample in data.samples)


def test_coco_file_names_with_folders(make):
    root = make.coco({"a": [("cat", [0, 0, 5, 5])]})
    path = root / "annotations/instances_train.json"
    for name in ("train/a.jpg", "/data/coco/train/a.jpg", "../../a.jpg"):
        document = json.loads(path.read_text())
        document["images"][0]["file_name"] = name
        path.write_text(json.dumps(document))
        assert names(load_dataset(root, "train")) == ["a"]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation><object><name>&b;</name></object></annotation>'


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "cannot be read"),
        ("<annotation>", "cannot be read"),
        ("<html></html>", "not a Pascal VOC annotation"),
        (BOMB, "cannot be read"),
        ("<annotation><object><bndbox/></object></annotation>", "no name"),
        ("<annotation><object><name>cat</name></object></annotation>", "no box of four numbers"),
        ("<annotation><object><name>cat</name><bndbox><xmin>one</xmin></bndbox></object></annotation>", "no box"),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            "no box",
        ),
    ],
)
def test_a_bad_annotation_is_named(make, xml, message):
    root = make.voc({"a": [CAT]})
    (root / "Annotations/a.xml").write_text(xml)
    with pytest.raises(InputError, match=rf"a\.xml: .*{message}"):
        load_dataset(root, "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5", "line 1 is not"),
        ("cat 0.5 0.5 0.5 0.5", "line 1 is not"),
        ("0 nan 0.5 0.5 0.5", "line 1 is not"),
        ("0.5 0.5 0.5 0.5 0.5", "line 1 is not"),
        ("7 0.5 0.5 0.5 0.5", "class 7, but there are 2"),
        ("-1 0.5 0.5 0.5 0.5", "class -1"),
    ],
)
def test_a_bad_label_line_is_named(make, line, message):
    root = make.yolo({"a": line})
    with pytest.raises(InputError, match=rf"a\.txt: .*{message}"):
        load_dataset(root, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "entry 0 is wrong"),
        ({"bbox": ["a", 2, 3, 4]}, "entry 0 is wrong"),
        ({"category_id": 99}, "category 99"),
        ({"image_id": 99}, "image 99"),
    ],
)
def test_a_bad_coco_entry_is_named(make, change, message):
    root = make.coco({"a": [("cat", [0, 0, 5, 5])]})
    path = root / "annotations/instances_train.json"
    document = json.loads(path.read_text())
    document["annotations"][0] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=rf"instances_train\.json: .*{message}"):
        load_dataset(root, "train")


def test_what_is_missing_is_said(make):
    with pytest.raises(InputError, match="there is no data set"):
        load_dataset(make.folder / "nowhere")
    with pytest.raises(InputError, match=r"looked for Pascal VOC.*COCO.*YOLO"):
        load_dataset(make.folder)
    root = make.voc({"a": [CAT]}, "voc")
    with pytest.raises(InputError, match=r"no split 'trian'.*did you mean 'train'"):
        load_dataset(root, "trian")
    with pytest.raises(InputError, match=r"no split 'val'.*it has train"):
        load_dataset(make.coco({"a": [("cat", [0, 0, 5, 5])]}, "coco"), "val")
    with pytest.raises(InputError, match=r"no split 'val'.*it has train"):
        load_dataset(make.yolo({"a": None}, "yolo"), "val")
    (root / "JPEGImages/a.png").unlink()
    with pytest.raises(InputError, match=r"a\.xml: no picture a"):
        load_dataset(root, "train")
    (root / "Annotations/a.xml").unlink()
    with pytest.raises(InputError, match=r"a\.xml: there is no such annotation"):
        load_dataset(root, "train")


def test_every_folder_that_data_yaml_lists_is_read(make):
    root = make.yolo({"a": "0 0.5 0.5 1 1"}, split="one")
    make.yolo({"b": "1 0.5 0.5 1 1"}, split="two")
    (root / "data.yaml").write_text("train: [images/one, images/two]\nval: images/none\nnames: [cat, dog]\n")
    for split in ("train", None):
        assert [sample.image.stem for sample in load_dataset(root, split).samples] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("names: &a [cat]\nother: *a\n", "line 2: aliases"),
        ("names: [cat]\nnc: 1\nnames: [dog]\n", "line 3: 'names' stands here twice"),
        ("names: {0: cat, 0: dog}\n", "line 1: '0' stands here twice"),
        ("names: [cat\n", "line 2: "),
        ("- cat\n- dog\n", "must hold `key: value`"),
        ("cat\n", "must hold `key: value`"),
        ("names: " + "[" * 5000 + "\n", "nested too deep"),
        ("# " + "x" * 300_000 + "\n", "larger than 256 kB"),
        ("a: 1\n---\nb: 2\n", "line 2: "),
        ("names: [cat]\n\x07", "not allowed"),
    ],
)
def test_data_yaml_of_strangers(tmp_path, text, match):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        read_yaml(tmp_path / "data.yaml")
    assert "\n" not in str(caught.value)


def test_a_tag_of_data_yaml_makes_no_object(tmp_path):
    (tmp_path / "data.yaml").write_text("names: !!python/object/apply:os.system [exit 1]\n")
    assert read_yaml(tmp_path / "data.yaml") == {"names": ["exit 1"]}


def test_values_of_data_yaml_stay_text(tmp_path):
    (tmp_path / "data.yaml").write_bytes(b"\xef\xbb\xbfnames: [no, 007, null, 1.50, 'yes']\r\nnc: 5\r\n")
    assert read_yaml(tmp_path / "data.yaml") == {"names": ["no", "007", "null", "1.50", "yes"], "nc": "5"}


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        "<annotation>",
        "",
        '<?xml version="1.0" encoding="klingon"?><annotation/>',
    ],
)
def test_annotations_of_strangers_are_one_line(make, text):
    root = make.voc({"a": [CAT]})
    (root / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_dataset(root)
    assert "\n" not in str(caught.value)


# Classes and their ids.

BOX = [1, 2, 10, 20]


def test_only_coco_has_category_ids(make):
    assert load_dataset(make.voc({"a": [CAT]}, "voc")).category_ids is None
    assert load_dataset(make.yolo({"a": "0 0.5 0.5 0.5 0.5\n"}, "yolo")).category_ids is None
    coco = make.coco({"a": [("cat", BOX), ("dog", BOX), ("tv", BOX)]}, "coco")  # 5, 7, 9
    assert load_dataset(coco).category_ids == (5, 7, 9)
    some = load_dataset(coco, classes=["tvmonitor", "cat"])
    assert (some.classes, some.category_ids, some.samples[0].labels.tolist()) == (("tv", "cat"), (9, 5), [1, 0])
    assert load_dataset(coco, classes=["unicorn", "dog"]).category_ids == (10, 7)


def test_ids_of_joined_sets_stay_where_they_agree(make):
    one = make.coco({"a": [("cat", BOX), ("dog", BOX)]}, "one")
    same = make.coco({"b": [("cat", BOX), ("dog", BOX)]}, "same")
    other = make.coco({"c": [("dog", BOX)]}, "other")  # 5 is another class there
    voc = make.voc({"d": [DOG]}, "voc")
    more = make.voc({"e": [("horse", (1, 1, 5, 5))]}, "more")
    assert load_dataset([one, same]).category_ids == (5, 7)
    assert load_dataset([one, voc]).category_ids == (5, 7)
    assert load_dataset([one, other]).category_ids is None
    joined = load_dataset([one, more])
    assert (joined.classes, joined.category_ids) == (("cat", "dog", "horse"), None)


def test_classes_that_differ_within_a_set_stay_apart_when_sets_are_joined(make):
    one = make.yolo({"a": "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.2 0.2\n"}, "one", names="names: [cat, Cat]\n")
    two = make.yolo({"b": "0 0.5 0.5 0.5 0.5\n"}, "two", names="names: [CAT]\n")
    data = load_dataset([one, two])
    assert data.classes == ("cat", "Cat")
    assert [sample.labels.tolist() for sample in data.samples] == [[0, 1], [0]]


def test_two_names_for_one_class_are_refused(make):
    root = make.coco({"a": [("tv", BOX)]})
    with pytest.raises(OptionError, match=r"'tv' and 'television' are the same one in the data"):
        load_dataset(root, classes=["television", "tv"])
    with pytest.raises(OptionError, match="'tv' is named twice"):
        load_dataset(root, classes=["tv", "tv"])


@pytest.mark.parametrize("number", [2**53, -(2**60), 10**30])
def test_a_category_id_that_json_readers_round_is_refused(make, number):
    root = make.coco({"a": [("cat", BOX)]})
    path = root / "annotations/instances_train.json"
    path.write_text(path.read_text().replace('"id": 5,', f'"id": {number},'))
    with pytest.raises(InputError, match=r"beyond 2\*\*53"):
        load_dataset(root)
