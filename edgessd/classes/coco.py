"""COCO's 80 object categories: names, and the category ids of its annotation files.

COCO numbers its categories 1..90 and leaves ten of those numbers unused (source: the `categories` list of
`instances_val2017.json`). A label of edgessd is an index into a list of class names; `COCO_IDS[label]`
is the category id that COCO's annotation and result files use for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgessd.errors import OptionError

COCO_CATEGORIES: dict[int, str] = {
    1: "person",
    2: "bicycle",
    3: "car",
    4: "motorcycle",
    5: "airplane",
    6: "bus",
    7: "train",
    8: "truck",
    9: "boat",
    10: "traffic light",
    11: "fire hydrant",
    13: "stop sign",
    14: "parking meter",
    15: "bench",
    16: "bird",
    17: "cat",
    18: "dog",
    19: "horse",
    20: "sheep",
    21: "cow",
    22: "elephant",
    23: "bear",
    24: "zebra",
    25: "giraffe",
    27: "backpack",
    28: "umbrella",
    31: "handbag",
    32: "tie",
    33: "suitcase",
    34: "frisbee",
    35: "skis",
    36: "snowboard",
    37: "sports ball",
    38: "kite",
    39: "baseball bat",
    40: "baseball glove",
    41: "skateboard",
    42: "surfboard",
    43: "tennis racket",
    44: "bottle",
    46: "wine glass",
    47: "cup",
    48: "fork",
    49: "knife",
    50: "spoon",
    51: "bowl",
    52: "banana",
    53: "apple",
    54: "sandwich",
    55: "orange",
    56: "broccoli",
    57: "carrot",
    58: "hot dog",
    59: "pizza",
    60: "donut",
    61: "cake",
    62: "chair",
    63: "couch",
    64: "potted plant",
    65: "bed",
    67: "dining table",
    70: "toilet",
    72: "tv",
    73: "laptop",
    74: "mouse",
    75: "remote",
    76: "keyboard",
    77: "cell phone",
    78: "microwave",
    79: "oven",
    80: "toaster",
    81: "sink",
    82: "refrigerator",
    84: "book",
    85: "clock",
    86: "vase",
    87: "scissors",
    88: "teddy bear",
    89: "hair drier",
    90: "toothbrush",
}

COCO_IDS: tuple[int, ...] = tuple(COCO_CATEGORIES)
"""Category id of each of the 80 labels."""

COCO_CLASSES: tuple[str, ...] = tuple(COCO_CATEGORIES.values())
"""Names of the 80 labels, in the order of `COCO_IDS`."""

COCO_CLASSES_90: tuple[str, ...] = tuple(COCO_CATEGORIES.get(index, f"N/A {index}") for index in range(1, 91))
"""One name for every id 1..90, `N/A 12` and the like for the ten unused ones: label + 1 is the category id.

Networks with 91 class columns (torchvision's, TensorFlow's) have one for each of them.
"""


def coco_category_ids(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return COCO's category ids of these class names where every one of them is COCO's, spelt as COCO does, or None.

    `N/A 12` and the like, names of class columns that nothing belongs to, have label + 1, as in `COCO_CLASSES_90`.
    """
    ids = tuple(_IDS.get(name, label if name.startswith("N/A ") else 0) for label, name in enumerate(names, 1))
    return ids if names and all(ids) and len(set(ids)) == len(ids) else None


def default_category_ids(names: Sequence[str]) -> tuple[int, ...]:
    """Return category ids for classes of which none are known: a name of COCO's never gets another id than COCO's.

    COCO's own where all names are COCO's, label + 1 where none is. Raises OptionError where only some are: then
    either numbering could be meant.
    """
    ids = coco_category_ids(names)
    if ids is not None:
        return ids
    shared = [name for name in names if name in _IDS]
    if shared:
        raise OptionError(
            f"no category ids are known, and only some of the classes are COCO's ({', '.join(shared[:3])}): "
            "give category_ids, one for each class"
        )
    return tuple(range(1, len(names) + 1))


_IDS = {name: number for number, name in COCO_CATEGORIES.items()}
