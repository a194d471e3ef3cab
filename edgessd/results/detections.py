"""`Detections`: the answer for one picture, in numpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsFloat, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from edgessd._shapes import Float32, Float64, Floats, Int64, Ints
from edgessd.classes.class_map import ClassMap, class_labels
from edgessd.classes.coco import default_category_ids
from edgessd.errors import InputError, OptionError, missing_extra, printable
from edgessd.results.arrays import checked, rows, shortest
from edgessd.results.record import PictureRecord, read_record

if TYPE_CHECKING:
    import supervision


class Detection(NamedTuple):
    """One object: box (x1, y1, x2, y2) in source pixels, score 0..1, label (index of the class), name."""

    box: tuple[float, float, float, float]
    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """All objects found in one picture, best score first.

    boxes: [N, 4] float32, (x1, y1, x2, y2) in pixels of the source picture, x to the right, y down. A pixel is one unit
        wide and (0, 0) is the picture's corner, so x2 and y2 are exclusive: the width is x2 - x1.
    scores: [N] float32, 0..1. labels: [N] int64, index into `classes`.
    classes: the model's class names. image_size: (width, height) of the source picture.
    timings: milliseconds by stage: `preprocess`, `run`, `postprocess` (and `read`, where edgessd read the picture).
    category_ids: the number of each class in COCO files, where the model says so (`ModelSpec.category_ids`).

    `found[0]` is a `Detection`, as iteration gives them; a slice, positions or a mask select `Detections`.
    Raises InputError for arrays that do not fit each other or the classes.

    >>> for found in edgessd.detect("street.jpg"):
    ...     print(f"{found.name} {found.score:.2f} {found.box}")
    """

    boxes: Float32[Floats, "n 4"]
    scores: Float32[Floats, " n"]
    labels: Int64[Ints, " n"]
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    timings: Mapping[str, float] = field(default_factory=dict)
    category_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        values = {
            "boxes": checked("boxes", self.boxes, np.float32, 4),
            "scores": checked("scores", self.scores, np.float32),
            "labels": checked("labels", self.labels, np.int64),
            "classes": _names(self.classes),
            "image_size": _size(self.image_size),
            "category_ids": _ids(self.category_ids),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not len(self.boxes) == len(self.scores) == len(self.labels):
            counts = f"{len(self.boxes)} boxes, {len(self.scores)} scores and {len(self.labels)} labels"
            raise InputError(f"unequal numbers of detections: {counts}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            wrong = next(label for label in self.labels.tolist() if not 0 <= label < len(self.classes))
            raise InputError(f"a detection has label {wrong}: it is a label outside its {len(self.classes)} classes")
        if self.category_ids is not None and len(self.category_ids) != len(self.classes):
            raise InputError(f"{len(self.category_ids)} category ids for {len(self.classes)} classes")

    @property
    def names(self) -> tuple[str, ...]:
        """Class name of each detection."""
        return tuple(self.classes[label] for label in self.labels)

    @property
    def area(self) -> Float64[NDArray[np.float64], " n"]:
        """[N] area of each box in square pixels, 0 of an inverted one."""
        sides = np.maximum(self.boxes[:, 2:].astype(np.float64) - self.boxes[:, :2], 0)
        area: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
        return area

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for box, score, label, name in zip(
            self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.names, strict=True
        ):
            yield Detection(tuple(box), score, label, name)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Detection: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, place: slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Detections: ...

    def __getitem__(
        self, place: SupportsIndex | slice | Sequence[int] | Sequence[bool] | NDArray[Any]
    ) -> Detection | Detections:
        """Return one `Detection` by position, or `Detections` by a slice, positions [M] or a boolean mask [N].

        Raises IndexError for a position that is not there, and for a mask of another length.
        """
        if isinstance(place, slice):
            return self._select(place)
        try:
            number = index(place)  # type: ignore[arg-type]
        except TypeError:
            return self._select(rows(place))
        label = int(self.labels[number])
        x1, y1, x2, y2 = self.boxes[number].tolist()
        return Detection((x1, y1, x2, y2), float(self.scores[number]), label, self.classes[label])

    def _select(self, pick: Any) -> Detections:
        return replace(self, boxes=self.boxes[pick], scores=self.scores[pick], labels=self.labels[pick])

    def filter(
        self, score_threshold: SupportsFloat | None = None, classes: str | Iterable[str] | None = None
    ) -> Detections:
        """Keep detections with a score above `score_threshold` and of these classes; None keeps all.

        score_threshold: 0..1, compared as float32. As in a `Detector`, a score equal to it goes. classes: names, at
        least one, found as `ClassMap` finds them.
        Raises OptionError for a threshold that is none, and for a name that the model does not have.
        """
        keep = np.ones(len(self), bool)
        if score_threshold is not None:
            keep = self.scores > np.float32(_fraction(score_threshold))
        if classes is not None:
            keep &= np.isin(self.labels, class_labels(classes, self.classes))
        return self._select(keep)

    def under(self, classes: ClassMap) -> Detections:
        """Return the same detections with the names and labels of `classes.target`; those without a partner go.

        classes: from these classes (`source`) to others.
        """
        labels = classes.labels(self.labels)
        keep = labels >= 0
        return Detections(
            self.boxes[keep], self.scores[keep], labels[keep], classes.target, self.image_size, self.timings
        )

    @staticmethod
    def merge(parts: Iterable[Detections]) -> Detections:
        """Return several detections of one picture (by two models, say, or of two runs) as one, best score first.

        Equal scores keep their order; timings are added up; doubles stay. Raises InputError where there is none, and
        where classes, category ids or the picture's size differ.
        """
        found = list(parts) if isinstance(parts, Iterable) else []
        if not found or not all(isinstance(each, Detections) for each in found):
            raise InputError("merge takes a list of Detections, at least one")
        first = found[0]
        for other in found[1:]:
            for name in ("classes", "category_ids", "image_size"):
                if getattr(other, name) != getattr(first, name):
                    raise InputError(f"detections with another {name.replace('_', ' ')} cannot be merged")
        timings: dict[str, float] = {}
        for stage, value in (pair for each in found for pair in each.timings.items()):
            timings[stage] = timings.get(stage, 0.0) + value
        boxes, scores, labels = (
            np.concatenate([getattr(each, name) for each in found]) for name in ("boxes", "scores", "labels")
        )
        order = np.argsort(-scores, kind="stable")
        return replace(first, boxes=boxes[order], scores=scores[order], labels=labels[order], timings=timings)

    def to_dict(self, *, classes: bool = True) -> dict[str, Any]:
        """Return plain Python values, of which `from_dict` makes the same detections again, bit for bit.

        `width`, `height`; `objects`, each with name, label, score and box, in the fewest digits that tell a float32
        from every other; `milliseconds`; `classes`, and `category_ids` where there are any.
        classes: False leaves these two out, for files that say them once for many pictures.
        """
        scores, boxes = shortest(self.scores).tolist(), shortest(self.boxes).tolist()
        document: dict[str, Any] = {
            "width": self.image_size[0],
            "height": self.image_size[1],
            "objects": [
                {"name": name, "label": label, "score": score, "box": box}
                for name, label, score, box in zip(self.names, self.labels.tolist(), scores, boxes, strict=True)
            ],
            "milliseconds": {stage: float(value) for stage, value in self.timings.items()},
        }
        if classes:
            document["classes"] = list(self.classes)
            if self.category_ids is not None:
                document["category_ids"] = list(self.category_ids)
        return document

    @classmethod
    def from_dict(
        cls,
        document: Mapping[str, Any],
        classes: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
    ) -> Detections:
        """Make detections of what `to_dict` returned, or of its JSON; other keys, such as `source`, are passed over.

        classes, category_ids: the model's, where the document has none. Without any the classes are known as far as
        the objects name them, and the others are called `N/A 3` and the like.
        Raises InputError for what is no such document, or has another name for a label.
        """
        return cls.from_record(read_record(document), classes, category_ids)

    @classmethod
    def from_record(
        cls, record: PictureRecord, classes: Sequence[str] | None = None, category_ids: Sequence[int] | None = None
    ) -> Detections:
        """Make detections of a record whose types are checked already; see `from_dict`."""
        objects = record.objects
        if not all(map(isfinite, (number for each in objects for number in (each.score, *each.box)))):
            raise InputError("this is no result of edgessd: a box or a score in it is no finite number")
        return cls(
            np.array([each.box for each in objects], np.float64),
            np.array([each.score for each in objects], np.float64),
            np.array([each.label for each in objects], np.int64),
            record.class_names(classes),
            (record.width, record.height),
            record.milliseconds,
            record.category_ids if record.category_ids is not None else _ids(category_ids),
        )

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict())

    def to_coco(
        self, image_id: SupportsIndex | str, category_ids: Sequence[SupportsIndex] | NDArray[Any] | None = None
    ) -> list[dict[str, Any]]:
        """COCO result entries: box as (x, y, width, height) in pixels.

        category_ids: the id of each class. The default is `self.category_ids`; where the model's file has none, COCO's
        own where all classes are COCO's, label + 1 where none is.
        Raises OptionError where only some of the classes are COCO's, and for another number of ids.
        """
        ids = self.category_ids if category_ids is None else tuple(map(index, category_ids))
        if ids is None:
            ids = default_category_ids(self.classes)
        if len(ids) != len(self.classes):
            raise OptionError(f"{len(ids)} category ids for {len(self.classes)} classes: give one for each")
        image = image_id if isinstance(image_id, str) else index(image_id)
        return [
            {"image_id": image, "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for (x1, y1, x2, y2), score, label, _ in self
        ]

    def to_supervision(self) -> supervision.Detections:
        """The same as `supervision.Detections`, for its annotators and trackers (extra `camera`)."""
        try:
            import supervision
        except ImportError:
            raise missing_extra("supervision", "camera") from None
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def draw(self, image: Any) -> NDArray[np.uint8]:
        """Return a copy of the picture, [H, W, 3] BGR, with boxes and labels. `image`: anything `load_image` takes."""
        from edgessd.draw.detections import draw_detections
        from edgessd.io.images import load_image

        return draw_detections(load_image(image), self.boxes, self.labels, self.scores, self.names)

    def __repr__(self) -> str:
        objects = ", ".join(f"{found.name} {found.score:.2f}" for found in self)
        return f"<Detections of a {self.image_size[0]}x{self.image_size[1]} picture: {objects or 'nothing'}>"


def _fraction(threshold: SupportsFloat) -> float:
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        value = -1
    if not 0 <= value <= 1:
        raise OptionError(f"score_threshold must be a number within 0 and 1, not {printable(threshold, 40)}")
    return value


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"classes must be a sequence of names, not {printable(names, 40)!r}")
    return names if isinstance(names, tuple) else tuple(map(str, names))


def _size(size: Sequence[SupportsIndex]) -> tuple[int, int]:
    try:
        width, height = map(index, size)
    except (TypeError, ValueError):
        raise InputError(f"image_size must be (width, height) in pixels, not {printable(size, 40)}") from None
    if min(width, height) < 1:
        raise InputError(f"image_size must be (width, height) in pixels, not {width}x{height}")
    return width, height


def _ids(ids: Iterable[SupportsIndex] | None) -> tuple[int, ...] | None:
    try:
        return None if ids is None else tuple(map(index, ids))
    except TypeError:
        raise InputError("category ids must be whole numbers") from None
