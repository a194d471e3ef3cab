"""`Detections`: the answer for one picture, in numpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import OptionError, did_you_mean, missing_extra

if TYPE_CHECKING:
    import supervision


class Detection(NamedTuple):
    """One object: box (x1, y1, x2, y2) in source pixels, score 0..1, label (index of the class), name."""

    box: tuple[float, float, float, float]
    score: float
    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Detections:
    """All objects found in one picture, best score first.

    boxes: [N, 4] float32, (x1, y1, x2, y2) in pixels of the source picture, x to the right, y down.
    scores: [N] float32, 0..1. labels: [N] int64, index into `classes`.
    classes: the model's class names. image_size: (width, height) of the source picture.
    timings: milliseconds by stage: `preprocess`, `run`, `postprocess` (and `read`, where edgessd read the picture).

    >>> for found in edgessd.detect("street.jpg"):
    ...     print(f"{found.name} {found.score:.2f} {found.box}")
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Class name of each detection."""
        return tuple(self.classes[label] for label in self.labels)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for box, score, label, name in zip(
            self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.names, strict=True
        ):
            yield Detection(tuple(box), score, label, name)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> Detections:
        """Select by position, slice, index list or boolean mask; the result is `Detections` again."""
        pick: Any = [index] if isinstance(index, int) else index
        return Detections(
            self.boxes[pick], self.scores[pick], self.labels[pick], self.classes, self.image_size, self.timings
        )

    def filter(self, score_threshold: float = 0.0, classes: Iterable[str] | None = None) -> Detections:
        """Keep detections with a score of at least `score_threshold` and, if given, of these class names."""
        keep = self.scores >= score_threshold
        if classes is not None:
            keep &= np.isin(self.labels, class_labels(classes, self.classes))
        return self[keep]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values: image size, timings, and one entry per object with name, label, score and box."""
        return {
            "width": self.image_size[0],
            "height": self.image_size[1],
            "objects": [
                {
                    "name": found.name,
                    "label": found.label,
                    "score": round(found.score, 4),
                    "box": [round(value, 2) for value in found.box],
                }
                for found in self
            ],
            "milliseconds": {stage: round(value, 3) for stage, value in self.timings.items()},
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict())

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO result entries: box as (x, y, width, height) in pixels.

        category_ids: the id of each class of the model; default is label + 1.
        """
        return [
            {
                "image_id": image_id,
                "category_id": int(category_ids[label]) if category_ids is not None else label + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
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


def class_labels(names: Iterable[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Labels of these class names, sorted, each once. Raises OptionError for a name that the model does not have."""
    index = {name: label for label, name in enumerate(classes)}
    labels = set()
    for name in [names] if isinstance(names, str) else names:
        if name not in index:
            raise OptionError(f"the model has no class {name!r}{did_you_mean(name, classes)}: see `edgessd info`")
        labels.add(index[name])
    return np.array(sorted(labels), np.int64)
