"""The one written form of a result: what `Detections.to_dict` returns, with its types checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from edgessd.errors import InputError, printable

MAX_CLASSES = 32_768
Label = Annotated[int, Meta(ge=0, lt=2**31)]


class ObjectRecord(Struct, kw_only=True):
    """One object: label, score 0..1, box (x1, y1, x2, y2) in pixels, and the class's name."""

    label: Label
    score: float
    box: tuple[float, float, float, float]
    name: str | None = None


class PictureRecord(Struct, kw_only=True):
    """One picture; keys that are not ours are passed over. classes: where the document says them."""

    width: int
    height: int
    objects: list[ObjectRecord]
    milliseconds: dict[str, float] = {}
    classes: tuple[str, ...] | None = None
    category_ids: tuple[int, ...] | None = None

    def class_names(self, given: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the record's classes, or `given`, or what the objects say of them, with `N/A 3` for the others.

        Raises InputError where these contradict each other.
        """
        classes = self.classes if self.classes is not None else None if given is None else tuple(given)
        if classes is None:
            last = max((each.label for each in self.objects), default=-1)
            if last >= MAX_CLASSES:
                raise InputError(f"a detection has label {last}: labels lie below {MAX_CLASSES}")
            named = {each.label: each.name for each in self.objects if each.name is not None}
            classes = tuple(named.get(label, f"N/A {label}") for label in range(last + 1))
        elif given is not None and classes != tuple(given):
            raise InputError("the result has other classes than those given")
        for each in self.objects:
            if each.name is not None and 0 <= each.label < len(classes) and classes[each.label] != each.name:
                name, known = printable(each.name, 60), printable(classes[each.label], 60)
                raise InputError(f"a detection has label {each.label}, {known!r}, and the name {name!r}")
        return classes


def read_record(document: Mapping[str, Any]) -> PictureRecord:
    """Check what `Detections.to_dict` returned. Raises InputError, with the path of the field."""
    try:
        return msgspec.convert(document, PictureRecord)
    except msgspec.ValidationError as error:
        raise InputError(f"this is no result of edgessd: {printable(error, 200)}") from None
