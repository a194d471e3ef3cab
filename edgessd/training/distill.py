"""Learning the raw outputs of a teacher.

B batch, P priors, K class columns. Teacher and student have the same priors and class columns; their
networks may differ.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from edgessd.errors import InputError, OptionError
from edgessd.io.sources import expand
from edgessd.models.checkpoint import load_checkpoint
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec

# A prior counts where the teacher's best score is above this, its box where it is above that.
SCORE, BOX_SCORE = 0.05, 0.3
# Share of the other priors that count besides, so that the background is learnt as well.
BACKGROUND_SHARE = 0.02


def load_teacher(path: str, spec: ModelSpec) -> tuple[SSD, ModelSpec]:
    """Load a checkpoint as the teacher of a network with `spec`. Raises OptionError where the two do not fit."""
    teacher, theirs = load_checkpoint(path)
    for what, mine, other in (
        ("classes", spec.classes, theirs.classes),
        ("scores", spec.scores, theirs.scores),
        ("priors", spec.priors.count, theirs.priors.count),
        ("input", (spec.input.width, spec.input.height), (theirs.input.width, theirs.input.height)),
        ("channel order", spec.input.channels, theirs.input.channels),
        ("coder", spec.coder, theirs.coder),
    ):
        if mine != other:
            raise OptionError(f"the teacher {path} has other {what} than the network: {other} instead of {mine}")
    return teacher.requires_grad_(False), theirs


def unlabelled_pictures(folder: str) -> list[Path]:
    """Return the pictures of a folder, sorted. Raises InputError where there are none."""
    if not Path(folder).is_dir():
        raise InputError(f"there is no folder of unlabelled pictures {folder}: check the path")
    paths = sorted(Path(str(item)) for item in expand(folder))
    if not paths:
        raise InputError(f"{folder} holds no pictures")
    return paths


def distillation_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    scores: str,
    generator: torch.Generator,
) -> Tensor:
    """Smooth L1 between raw outputs (logits [B, P, K], offsets [B, P, 4]), a scalar float32.

    Logits count for priors whose best score by the teacher is above 0.05, and for a random share of the others;
    offsets where it is above 0.3. Both are means over what counts, so the number of objects does not matter.
    """
    logits, offsets = teacher[0].float(), teacher[1].float()
    table = logits.softmax(dim=2)[..., 1:] if scores == "softmax" else logits.sigmoid()
    best = table.amax(dim=2)
    chance = torch.rand(best.shape, generator=generator).to(best.device) < BACKGROUND_SHARE
    chosen = (best > SCORE) | chance
    located = best > BOX_SCORE
    class_part = F.smooth_l1_loss(student[0].float(), logits, reduction="none").mean(dim=2)
    box_part = F.smooth_l1_loss(student[1].float(), offsets, reduction="none").sum(dim=2)
    total = (class_part * chosen).sum() / chosen.sum().clamp(min=1)
    return total + (box_part * located).sum() / located.sum().clamp(min=1)
