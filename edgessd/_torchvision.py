"""The one door to torchvision and timm.

Where a CPU build of torch meets a CUDA build of torchvision, torchvision's compiled operators cannot be
loaded, and its import fails because it describes `torchvision::nms` to the compiler although nobody
defined it. This module then defines the two operators it asks for, in plain torch, and imports it. Where
the compiled operators load it does nothing but the import.

Nothing of edgessd may import torchvision or timm in another way.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from edgessd.errors import missing_extra

_NMS_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # keeps the definitions alive


def _nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression; `dets` [N, 4] xyxy, `scores` [N]. Returns the indices kept, best first."""
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = (high - low).prod(dim=1)
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for k in range(len(boxes)):
        if not alive[k]:
            continue
        overlap = (torch.minimum(high[k], high[k + 1 :]) - torch.maximum(low[k], low[k + 1 :])).clamp_(min=0)
        intersection = overlap.prod(dim=1)
        iou = intersection / (areas[k] + areas[k + 1 :] - intersection)
        alive[k + 1 :] &= ~(iou > iou_threshold)
    return order[alive]


def _compiled_operators_load() -> bool:
    """Try what `torchvision.extension` will try: to load `_C` from torchvision's folder."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise missing_extra("torchvision", "torch")
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    for suffix in suffixes:
        library = Path(package.origin).parent / f"_C{suffix}"
        if library.exists():
            try:
                torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
            except (ImportError, OSError):
                return False
            return True
    return False


def _define_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(name + _NMS_SCHEMA)  # type: ignore[no-untyped-call]
    _library.impl("nms", _nms, "CPU")  # type: ignore[no-untyped-call]


def _import_torchvision() -> ModuleType:
    missing = not _compiled_operators_load()
    if missing:
        _define_operators()
    torchvision = importlib.import_module("torchvision")
    if missing:
        # torchvision.ops asks this before every call; the two operators that are needed exist now.
        torchvision.extension._has_ops = lambda: True
    return torchvision


torchvision = _import_torchvision()

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside timm are not our users' concern
        import timm
except ImportError as error:
    raise missing_extra("timm", "torch") from error

__all__ = ["timm", "torchvision"]
