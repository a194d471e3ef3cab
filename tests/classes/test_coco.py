from edgessd.classes.coco import COCO_CATEGORIES, COCO_CLASSES, COCO_CLASSES_90, COCO_IDS


def test_the_eighty_categories():
    assert len(COCO_CATEGORIES) == len(COCO_CLASSES) == len(set(COCO_CLASSES)) == len(COCO_IDS) == 80
    # Corner stones of instances_val2017.json: the unused ids lie between them.
    assert [COCO_CATEGORIES[index] for index in (1, 11, 13, 28, 31, 65, 67, 70, 72, 82, 84, 90)] == [
        "person", "fire hydrant", "stop sign", "umbrella", "handbag", "bed", "dining table", "toilet", "tv",
        "refrigerator", "book", "toothbrush",
    ]  # fmt: skip
    assert list(COCO_IDS) == sorted(COCO_IDS)


def test_ninety_names_for_networks_that_have_a_column_for_each_id():
    assert len(COCO_CLASSES_90) == len(set(COCO_CLASSES_90)) == 90
    assert all(COCO_CLASSES_90[index - 1] == name for index, name in COCO_CATEGORIES.items())
    unused = [name for name in COCO_CLASSES_90 if name.startswith("N/A ")]
    assert unused == [f"N/A {index}" for index in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
