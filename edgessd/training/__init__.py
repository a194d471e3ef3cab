"""Training: matching, loss, augmentation, and the loop around them.

Names are imported when they are first asked for, so that drawing augmented samples needs neither torch nor accelerate.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgessd.training.augment import Augmentation
    from edgessd.training.config import TrainConfig, make_config
    from edgessd.training.engine import TrainResult, saved_config, train
    from edgessd.training.loss import MultiBoxLoss
    from edgessd.training.matching import match
    from edgessd.training.preview import draw_augmented

__all__ = [
    "Augmentation",
    "MultiBoxLoss",
    "TrainConfig",
    "TrainResult",
    "draw_augmented",
    "make_config",
    "match",
    "saved_config",
    "train",
]

_HOME = {
    "Augmentation": "augment",
    "TrainConfig": "config",
    "make_config": "config",
    "TrainResult": "engine",
    "saved_config": "engine",
    "train": "engine",
    "MultiBoxLoss": "loss",
    "match": "matching",
    "draw_augmented": "preview",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
