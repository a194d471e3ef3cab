"""What a run feeds its network with: batches of labelled pictures, and of unlabelled ones for a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from edgessd.datasets import LabelledSet
from edgessd.spec import InputSpec
from edgessd.training.augment import PRESETS
from edgessd.training.config import TrainConfig
from edgessd.training.data import Batch, Batches, PictureSet, TrainingSet, make_loader, normalize
from edgessd.training.device import workers_for
from edgessd.training.distill import unlabelled_pictures
from edgessd.training.scales import SizeChoice

# Pictures from which batch norm is measured again.
REESTIMATION_PICTURES = 256


class Feed:
    """The batches of this process, epoch by epoch; the same ones whenever the same epoch and step are asked for."""

    def __init__(
        self, config: TrainConfig, data: LabelledSet, spec: InputSpec, device: torch.device, rank: int, world: int
    ) -> None:
        self._config = config
        self._spec = spec
        self._device = device
        self._place = {"rank": rank, "world": world}
        self._workers = workers_for(config.workers, world)
        self._labelled = TrainingSet(data, spec, config.augmentation, config.seed)
        self._unlabelled = (
            PictureSet(unlabelled_pictures(config.unlabelled), spec, PRESETS["light"], config.seed + 1)
            if config.unlabelled
            else None
        )
        self._sizes = SizeChoice(config.sizes, config.seed) if config.sizes else None
        self.steps = self._batches(0).steps

    def epoch(self, number: int, start: int) -> Iterator[tuple[Batch, Batch | None]]:
        """Batches of an epoch from step `start` on, each with one of unlabelled pictures where there are any."""
        pin = self._device.type == "cuda"
        loader = make_loader(self._labelled, self._batches(number, start), self._workers, pin=pin)
        others = self._others(number, start)
        for batch in loader:
            yield batch.to(self._device), None if others is None else next(others)

    def plain(self) -> Iterator[Tensor]:
        """Normalised pictures of the training data, for measuring batch norm."""
        size = min(32, self._config.batch_size)
        batches = Batches(len(self._labelled), size, self._config.seed, 0)
        loader = make_loader(self._labelled, batches, self._workers)
        for batch in islice(loader, -(-REESTIMATION_PICTURES // size)):
            yield normalize(batch.images, self._spec)

    def _batches(self, epoch: int, start: int = 0) -> Batches:
        config = self._config
        return Batches(
            len(self._labelled), config.batch_size, config.seed, epoch, start=start, sizes=self._sizes, **self._place
        )

    def _others(self, epoch: int, start: int) -> Iterator[Batch] | None:
        """Batches of unlabelled pictures, as many as the epoch has steps left."""
        if self._unlabelled is None:
            return None
        size = self._config.unlabelled_batch or self._config.batch_size
        batches = _Endless(
            len(self._unlabelled), size, self._config.seed + 1, epoch, start=start, steps=self.steps, **self._place
        )
        loader = make_loader(self._unlabelled, batches, self._workers)
        return (batch.to(self._device) for batch in loader)


class _Endless(Batches):
    """Batches of a set whose epochs are as long as another set's: its permutation goes on over them."""

    def __init__(self, *args: Any, steps: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._steps = steps

    @property
    def steps(self) -> int:
        """As many as the other set has."""
        return self._steps
