"""The learning rate as a function of the step, so that there is nothing to save and restore."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "steps", "constant"]


def learning_rate(
    step: int, total: int, base: float, schedule: Schedule = "cosine", warmup: int = 0, last: float = 0.0
) -> float:
    """Learning rate of `step` (0 is the first) of `total`.

    warmup: steps over which the rate rises evenly to `base`. `cosine` falls to `last` * base at the end; `steps`
    divides by 10 after 2/3 and 5/6 of the run: the paper's 80k and 100k of 120k iterations.
    """
    if step < warmup:
        return base * (step + 1) / warmup
    if schedule == "constant":
        return base
    if schedule == "steps":
        return base * 0.1 ** sum(step >= total * part for part in (2 / 3, 5 / 6))
    done = (step - warmup) / max(1, total - warmup)
    return base * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
