"""Training: matching, loss, augmentation, and the loop around them."""

from edgessd.training.augment import Augmentation, augment
from edgessd.training.config import TrainConfig, make_config
from edgessd.training.engine import TrainResult, saved_config, train
from edgessd.training.loss import MultiBoxLoss
from edgessd.training.matching import match

__all__ = [
    "Augmentation",
    "MultiBoxLoss",
    "TrainConfig",
    "TrainResult",
    "augment",
    "make_config",
    "match",
    "saved_config",
    "train",
]
