"""Names under which different data sets know the same class."""

from __future__ import annotations

# First the name in Pascal VOC or COCO, then what others call the same thing. No more and no less general names:
# a pedestrian is a person, but not every person is a pedestrian.
SAME: tuple[tuple[str, ...], ...] = (
    ("aeroplane", "airplane", "plane"),
    ("bicycle", "bike"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tvmonitor", "tv", "tv monitor", "television"),
    ("diningtable", "dining table"),
    ("pottedplant", "potted plant"),
    ("cell phone", "mobile phone", "cellphone"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer", "hairdryer"),
    ("refrigerator", "fridge"),
    ("remote", "remote control"),
    ("mouse", "computer mouse"),
    ("keyboard", "computer keyboard"),
    ("person", "people", "human"),
    ("car", "automobile"),
)


def canonical(name: str) -> str:
    """Return one spelling for all names of a class: lower case, single spaces, the first of its row of `SAME`."""
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    return _FIRST.get(plain, plain)


_FIRST = {name: row[0] for row in SAME for name in row}
