"""The state of a run on disk: tensors in safetensors, everything else as JSON in its header. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgessd.errors import InputError, ModelError, OptionError
from edgessd.io.files import atomic_write
from edgessd.training.config import TrainConfig

FILE = "state.safetensors"
_KEY = "edgessd.training"


class Progress(Struct, forbid_unknown_fields=True):
    """Where a run stands.

    update: optimiser steps done. epoch: the one under way, from 0; step: its batches done. sums: of the
    losses of this epoch, by part; images: that went into them. seconds: spent in training steps, all epochs.
    history: one row an epoch. best: the best value of the metric, None before the first evaluation.
    """

    update: int = 0
    epoch: int = 0
    step: int = 0
    ema_updates: int = 0
    sums: dict[str, float] = msgspec.field(default_factory=dict)
    images: int = 0
    updates: int = 0
    seconds: float = 0.0
    best: float | None = None
    history: list[dict[str, float | None]] = msgspec.field(default_factory=list)
    unreadable: dict[int, str] = msgspec.field(default_factory=dict)


class State(NamedTuple):
    """A saved run. classes, pictures: of its data. groups: tensors by group (`model`, `ema`, `optimizer`) and name."""

    config: TrainConfig
    progress: Progress
    classes: tuple[str, ...]
    pictures: int
    groups: dict[str, dict[str, Tensor]]


class _Header(Struct, forbid_unknown_fields=True):
    config: TrainConfig
    progress: Progress
    classes: tuple[str, ...]
    pictures: int


def save_state(
    folder: Path,
    config: TrainConfig,
    progress: Progress,
    classes: tuple[str, ...],
    pictures: int,
    groups: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Write the state into `folder`, whole or not at all. Raises ModelError where that fails.

    groups: tensors by group (`model`, `ema`, `optimizer`) and name. Random numbers need no place: those of
    every step are drawn from the seed and the step's number.
    """
    tensors = {
        f"{group}/{name}": value.detach().cpu().contiguous().clone()
        for group, entries in groups.items()
        for name, value in entries.items()
    }
    header = msgspec.json.encode(_Header(config, progress, classes, pictures)).decode()
    target = folder / FILE
    try:
        with atomic_write(target) as temporary:
            save_file(tensors, temporary, metadata={_KEY: header, "format": "pt"})
    except (InputError, OSError, SafetensorError) as error:
        raise ModelError(f"cannot save the state of the training to {target}: {error}") from None


def load_state(folder: Path) -> State:
    """Read what `save_state` wrote. Raises OptionError where there is none, ModelError where it is damaged."""
    target = folder / FILE
    if not target.is_file():
        raise OptionError(f"nothing to resume: there is no {target}; start without --resume")
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(str(target), framework="pt") as reader:
            header = msgspec.json.decode((reader.metadata() or {})[_KEY], type=_Header)
            for key in reader.keys():  # noqa: SIM118
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = reader.get_tensor(key)
    except (SafetensorError, OSError, KeyError, msgspec.MsgspecError) as error:
        raise ModelError(f"{target} is not the whole state of a training: {error}") from None
    return State(header.config, header.progress, header.classes, header.pictures, groups)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's buffers as `number of the parameter/name`."""
    return {
        f"{number}/{name}": value
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the buffers back."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
