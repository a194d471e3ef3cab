"""Thresholds that a caller gives instead of a model's own."""

from __future__ import annotations

from typing import Any

import msgspec

from edgessd.errors import OptionError
from edgessd.spec import ModelSpec, Thresholds


def changed(spec: ModelSpec, base: Thresholds, **given: Any) -> Thresholds:
    """Return `base` with what is given instead, by the names of its fields; None is nothing given.

    Numbers may be numpy's scalars. Raises OptionError for what is none or out of range, and for what a file of level
    `nms` cannot follow any more.
    """
    values = {**msgspec.structs.asdict(base), **{k: _plain(v) for k, v in given.items() if v is not None}}
    try:
        limits = msgspec.convert(values, Thresholds)
    except msgspec.ValidationError as error:
        name = next((k for k in values if f"$.{k}" in str(error)), "threshold")
        raise OptionError(f"{name} {values.get(name)}: {str(error).partition(' - at `$')[0]}") from None
    _check_baked_in(spec, limits)
    return limits


def _plain(value: Any) -> Any:
    """A scalar of numpy (or torch) as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _check_baked_in(spec: ModelSpec, limits: Thresholds) -> None:
    """Refuse thresholds that a graph with the suppression inside cannot follow any more."""
    if spec.output.level != "nms":
        return
    baked = spec.defaults
    possible = {
        "score_threshold": limits.score_threshold >= baked.score_threshold - 1e-6,
        "iou_threshold": abs(limits.iou_threshold - baked.iou_threshold) < 1e-6,
        "max_detections": limits.max_detections <= baked.max_detections,
    }
    for name, fine in possible.items():
        if not fine:
            raise OptionError(
                f"{name} {getattr(limits, name):g} is not possible: the file has {getattr(baked, name):g} baked in "
                "(level nms); leave it out, or export the model at level raw or decoded"
            )
