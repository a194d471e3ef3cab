"""Detect in every picture of a data set; store detections in a file and read them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from edgessd.datasets import LabelledSet
from edgessd.detector import Detector
from edgessd.errors import InputError
from edgessd.evaluation.protocols import Metric, under_protocol
from edgessd.io.files import printable, write_bytes_atomic
from edgessd.results import Detections


class _Picture(Struct, forbid_unknown_fields=True):
    name: str
    width: int
    height: int
    boxes: list[tuple[float, float, float, float]]
    scores: list[float]
    labels: list[int]


class _File(Struct, forbid_unknown_fields=True):
    model: str
    classes: tuple[str, ...]
    images: list[_Picture]


def detect_all(
    detector: Detector,
    truth: LabelledSet,
    metric: Metric | None = "coco",
    *,
    progress: Callable[[int, int], None] | None = None,
    skipped: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Detections]:
    """Detect in every picture, in order, under the thresholds at which `metric` is measured (`protocols`).

    metric: that of `evaluate`; None takes the detector's own thresholds, which leave out what counts for average
    precision. progress: called with (done, all) after each. skipped: called with the reason for each picture that
    cannot be read, which then counts as one without detections; without it such a picture raises InputError.
    stop: asked after each picture whether to end there.
    """
    if metric is not None:
        detector = under_protocol(detector, metric)
    found: list[Detections] = []
    for sample in truth.samples:
        try:
            found.append(detector(sample.image))
        except InputError as error:
            if skipped is None:
                raise
            skipped(str(error))
            found.append(_nothing(detector.spec.classes, sample.size))
        if progress is not None:
            progress(len(found), len(truth.samples))
        if stop is not None and stop():
            break
    return found


def save_detections(path: Path, model: str, truth: LabelledSet, detections: Sequence[Detections]) -> None:
    """Write detections as JSON, atomically: boxes xyxy in pixels, exact to the last digit of float32."""
    names = picture_names(truth)
    images = [
        _Picture(
            name,
            found.image_size[0],
            found.image_size[1],
            [(a, b, c, d) for a, b, c, d in _exact(found.boxes).reshape(-1, 4).tolist()],
            _exact(found.scores).tolist(),
            found.labels.tolist(),
        )
        for name, found in zip(names, detections, strict=True)
    ]
    classes = detections[0].classes if detections else ()
    write_bytes_atomic(path, msgspec.json.encode(_File(model, classes, images)) + b"\n")


def load_detections(path: Path, truth: LabelledSet) -> tuple[str, tuple[str, ...], list[Detections]]:
    """Read stored detections: the model's name, its classes, and the detections of every sample, in order.

    Pictures are matched by name. Raises InputError for a file that is not one of ours, is inconsistent,
    or lacks one of the pictures.
    """
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InputError(f"{printable(path)} is no file of stored detections: {error}") from None
    by_name = {picture.name: picture for picture in stored.images}
    names = picture_names(truth)
    missing = [name for name in names if name not in by_name]
    if missing:
        raise InputError(
            f"{printable(path)} has no detections of {len(missing)} of the {len(names)} pictures, such as "
            f"{missing[0]}: it was made from other data or another split"
        )
    found = []
    for name in names:
        picture = by_name[name]
        labels = np.array(picture.labels, np.int64)
        if not len(picture.boxes) == len(picture.scores) == len(labels):
            raise InputError(f"{printable(path)}: picture {name} has unequal numbers of boxes, scores and labels")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(stored.classes):
            raise InputError(f"{printable(path)}: picture {name} has a label outside its {len(stored.classes)} classes")
        boxes = np.array(picture.boxes, np.float32).reshape(-1, 4)
        scores = np.array(picture.scores, np.float32)
        found.append(Detections(boxes, scores, labels, stored.classes, (picture.width, picture.height)))
    return stored.model, stored.classes, found


def picture_names(truth: LabelledSet) -> list[str]:
    """Return a name for every picture: its file's, without suffix; with its folder where that is not enough."""
    names = [sample.image.stem for sample in truth.samples]
    if len(set(names)) == len(names):
        return names
    return [f"{sample.image.parent.name}/{sample.image.stem}" for sample in truth.samples]


def _nothing(classes: tuple[str, ...], size: tuple[int, int] | None) -> Detections:
    empty = np.zeros(0, np.float32)
    return Detections(empty.reshape(0, 4), empty, np.zeros(0, np.int64), classes, size or (1, 1))


def _exact(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Nine significant digits tell every float32 from every other; more only make the file longer."""
    return np.array([float(f"{value:.9g}") for value in values.ravel().tolist()], np.float64)
