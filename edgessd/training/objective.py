"""Matching and loss of a run, for the priors of one input size."""

from __future__ import annotations

import torch
from torch import Tensor

from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import CoderSpec, PriorSpec
from edgessd.training.config import TrainConfig
from edgessd.training.data import Batch
from edgessd.training.loss import MULTIBOX_ALPHA, Losses, MultiBoxLoss
from edgessd.training.matching import IGNORED, match


class Objective:
    """What the priors of a batch should say, and what it costs that they do not."""

    def __init__(self, priors: PriorSpec, coder: CoderSpec, config: TrainConfig, device: torch.device) -> None:
        alpha = config.alpha if config.alpha is not None else MULTIBOX_ALPHA if config.loss == "multibox" else 1.0
        table = torch.from_numpy(prior_boxes(priors).copy())
        self._criterion = MultiBoxLoss(table, coder, config.loss, alpha=alpha, negative_ratio=config.negative_ratio)
        self._criterion.to(device)
        self._active = torch.from_numpy(inside_mask(priors).copy()).to(device) if priors.exclude_boundary else None
        self._ignores = config.difficult == "ignore"
        self._threshold = None if config.loss == "multibox" else config.iou_threshold

    def match(self, batch: Batch) -> Tensor:
        """Return [B, P]: the object that each prior answers for; see `matching.match`."""
        matched = match(
            self._criterion.priors,
            batch.boxes,
            batch.valid,
            self._threshold,
            ignore=batch.ignore if self._ignores else None,
            crowd=batch.crowd,
            active=self._active,
        )
        matched[~batch.usable] = IGNORED
        return matched

    def loss(self, logits: Tensor, offsets: Tensor, matched: Tensor, batch: Batch, normalizer: Tensor) -> Losses:
        """Return the losses of predictions [B, P, K] and [B, P, 4], divided by `normalizer`."""
        result: Losses = self._criterion(logits, offsets, matched, batch.boxes, batch.labels, normalizer)
        return result
