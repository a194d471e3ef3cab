"""One update of the weights: forwards, loss, backwards, optimiser, moving average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from edgessd._signals import Stop
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec
from edgessd.training.config import TrainConfig
from edgessd.training.data import Batch, normalize
from edgessd.training.distill import distillation_loss
from edgessd.training.ema import MovingAverage
from edgessd.training.objective import Objective
from edgessd.training.schedule import learning_rate

PARTS = ("loss", "loss_classes", "loss_boxes", "loss_distill")
# Labelled batches, each with the unlabelled one of its step.
Group = Sequence[tuple[Batch, Batch | None]]


class NotFiniteError(Exception):
    """The loss or its gradient is no number. rate: the learning rate; mine: whether this process's batch did it."""

    def __init__(self, rate: float, *, mine: bool) -> None:
        super().__init__(rate, mine)
        self.rate = rate
        self.mine = mine


class Updater:
    """Does the updates of a run, in all processes together.

    objectives: by input (height, width). teacher: network and spec of what is learnt besides. total: updates of the
    whole run, for the learning rate.
    """

    def __init__(
        self,
        config: TrainConfig,
        spec: ModelSpec,
        accelerator: Accelerator,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        objectives: Mapping[tuple[int, int], Objective],
        teacher: tuple[SSD, ModelSpec] | None,
        total: int,
    ) -> None:
        self.config = config
        self.spec = spec
        self.accelerator = accelerator
        self.network = network
        self.optimizer = optimizer
        self.average = average
        self.objectives = objectives
        self.teacher = teacher
        self.total = total

    def __call__(self, number: int, group: Group, stop: Stop) -> tuple[dict[str, float], int | None]:
        """Do update `number` (0 is the first) over a group of batches.

        Return its losses, means over all processes, and the signal that came to one of them. Raises NotFiniteError
        before the weights are touched.
        """
        config, world = self.config, self.accelerator.num_processes
        rate = learning_rate(number, self.total, config.learning_rate, config.schedule, config.warmup)
        for entry in self.optimizer.param_groups:
            entry["lr"] = rate
        seed = int(np.random.SeedSequence([config.seed, number, self.accelerator.process_index]).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout and stochastic depth
        generator = torch.Generator().manual_seed(seed)
        matches = [self._objective(batch).match(batch) for batch, _ in group]
        # The number of matched priors of all batches and processes: the loss is that of one large batch.
        positives = torch.stack([(matched >= 0).sum() for matched in matches]).sum()
        if world > 1:
            positives = self.accelerator.reduce(positives, "sum")
        normalizer = positives.clamp(min=1)
        parts = torch.zeros(len(PARTS) + 1, device=self.accelerator.device)
        for place, ((batch, other), matched) in enumerate(zip(group, matches, strict=True)):
            last = place == len(group) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                total, shown = self._forward(batch, matched, other, normalizer, generator)
                # Accelerate averages gradients over the processes; the normaliser already counts them all.
                self.accelerator.backward(total * world)
            parts[: len(PARTS)] += shown
        if stop.signal is not None:
            parts[-1] = stop.signal
        if world > 1:
            finite = bool(torch.isfinite(parts).all())
            parts = self.accelerator.reduce(parts, "sum")
        else:
            finite = True
        norm: Tensor | None = None
        if config.clip:
            norm = self.accelerator.clip_grad_norm_(self.network.parameters(), config.clip)
        values = parts.tolist()
        if not math.isfinite(values[0]) or (norm is not None and not bool(torch.isfinite(norm))):
            raise NotFiniteError(rate, mine=world == 1 or not finite or math.isfinite(values[0]))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.accelerator.unwrap_model(self.network))
        losses = dict(zip(PARTS, values, strict=False))
        if self.teacher is None:
            del losses["loss_distill"]
        return losses, int(values[-1]) or None

    def _objective(self, batch: Batch) -> Objective:
        height, width = batch.images.shape[2:]
        return self.objectives[height, width]

    def _forward(
        self, batch: Batch, matched: Tensor, other: Batch | None, normalizer: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Loss of one batch, and its parts in the order of PARTS."""
        pictures = batch.images if other is None else torch.cat([batch.images, other.images])
        logits, offsets = self.network(normalize(pictures, self.spec.input))
        size = len(batch.images)
        losses = self._objective(batch).loss(logits[:size], offsets[:size], matched, batch, normalizer)
        total = losses.total
        shown = [losses.classes, losses.boxes, total.new_zeros(())]
        if self.teacher is not None:
            teacher, theirs = self.teacher
            first = 0 if other is None else size  # without pictures of its own the teacher looks at the labelled ones
            with torch.no_grad(), self.accelerator.autocast():
                targets = teacher(normalize(pictures[first:], theirs.input))
            extra = distillation_loss((logits[first:], offsets[first:]), targets, self.spec.scores, generator)
            extra = extra * self.config.distill_weight / self.accelerator.num_processes
            total = total + extra
            shown[2] = extra
        return total, torch.stack([total, *shown]).detach()
