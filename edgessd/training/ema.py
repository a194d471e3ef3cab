"""Moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """Average of a network's floating-point tensors (parameters and statistics) over the steps.

    decay: share of the old average kept at each step, less at the beginning: (1 + n) / (10 + n) at step n, as
    TensorFlow's `ExponentialMovingAverage` does with `num_updates`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the network's present weights."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        old, new = [], []
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                old.append(self.tensors[key])
                new.append(value.detach())
            else:
                self.tensors[key].copy_(value)
        torch._foreach_lerp_(old, new, weight)

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a saved average."""
        for key, value in self.tensors.items():
            value.copy_(tensors[key])
        self.updates = updates
