"""The data of a run: what is trained on, what is evaluated on, and how their classes meet the network's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgessd.datasets import LabelledSet, load_dataset
from edgessd.datasets.split import NoSplitError
from edgessd.errors import InputError
from edgessd.training.config import TrainConfig

OBJECT = "object"
NO_EVALUATION = "none"


def load_sets(config: TrainConfig) -> tuple[LabelledSet, LabelledSet | None]:
    """Return the set to train on and the set to evaluate on (None where `val_split` is `none`), with the same classes.

    Raises InputError for data that cannot be read or has no object to learn.
    """
    classes = config.classes or None
    if config.split is None and config.val_split is None and config.val_data is None:
        train, chosen = _default_split(config.data, classes)
        evaluation = load_dataset(config.data, chosen, classes=train.classes)
    else:
        train = load_dataset(config.data, config.split, classes=classes)
        wanted = config.val_split != NO_EVALUATION and (config.val_split is not None or config.val_data is not None)
        evaluation = None
        if wanted:
            evaluation = load_dataset(config.val_data or config.data, config.val_split, classes=train.classes)
    if not train.samples:
        raise InputError(f"{config.data}: the split to train on has no pictures")
    if not any(len(sample.labels) for sample in train.samples):
        raise InputError(f"{config.data}: no picture of the split to train on has an object of {_names(train.classes)}")
    if config.class_agnostic:
        return _without_classes(train), None if evaluation is None else _without_classes(evaluation)
    return train, evaluation


def _default_split(data: str, classes: tuple[str, ...] | None) -> tuple[LabelledSet, str]:
    try:
        train = load_dataset(data, "train", classes=classes)
        load_dataset(data, "val", classes=train.classes)
        return train, "val"
    except NoSplitError:
        return load_dataset(data, "0.9", classes=classes), "0.9:"


def _without_classes(data: LabelledSet) -> LabelledSet:
    samples = tuple(replace(sample, labels=np.zeros_like(sample.labels)) for sample in data.samples)
    return LabelledSet(samples, (OBJECT,))


def _names(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
