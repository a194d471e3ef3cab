"""The network that is trained, and the one that is evaluated and saved in its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgessd.errors import OptionError
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec, PriorSpec
from edgessd.training.config import TrainConfig
from edgessd.training.depthwise import speed_up
from edgessd.training.device import channels_last
from edgessd.training.norm import Folded, freeze, is_folded, norms, reestimate


class Subject:
    """The two forms of the network of a run.

    shell: the network as its spec describes it; it is evaluated and saved. network: what is trained: the shell's
    copy, or the same with batch norm folded into the convolutions.
    """

    def __init__(
        self,
        shell: SSD,
        spec: ModelSpec,
        config: TrainConfig,
        *,
        pictures: Callable[[], Iterable[Tensor]] | None,
        say: Callable[[str], None],
    ) -> None:
        """Prepare the network of a new run, or that of a resumed one, where `pictures` is None.

        pictures: makes normalised pictures of the training data, from which batch norm is measured again.
        """
        self.shell = shell
        self.folded: Folded | None = None
        self._config = config
        mode = config.norm
        if mode == "auto":
            mode = "folded" if is_folded(shell) else "train"
        self._frozen = mode == "frozen"
        self.network: SSD
        if mode == "folded" and norms(shell):
            generator = torch.Generator().manual_seed(0)
            example = torch.randn(1, 3, spec.input.height, spec.input.width, generator=generator)
            self.folded = Folded(shell, example)
            self.network = self.folded.network
        else:
            self.network = copy.deepcopy(shell)
            if mode == "reestimated" and pictures is not None:
                say("measuring batch norm on the training data")
                reestimate(self.network, pictures())
        if config.freeze_backbone:
            self.network.backbone.requires_grad_(False)
        channels_last(self.network)
        speed_up(self.network)

    def train(self, wrapped: nn.Module) -> None:
        """Put the network, which Accelerate may have wrapped, into training mode; what is frozen stays as it is."""
        wrapped.train()
        network: Any = self.network
        if self._frozen:
            freeze(network)
        if self._config.freeze_backbone:
            freeze(network.backbone)

    def show(self, tensors: Mapping[str, Tensor]) -> SSD:
        """Put tensors of the trained network into the shell, and return that in evaluation mode."""
        self.shell.load_state_dict(tensors if self.folded is None else self.folded.restore(tensors))
        self.shell.eval()
        return self.shell


def check_batch(shell: SSD, config: TrainConfig, priors: Iterable[PriorSpec]) -> None:
    """Raise OptionError where batch norm would have to be trained on one value per channel.

    priors: of every input size that is trained on.
    """
    moving = config.norm in ("train", "reestimated") or (config.norm == "auto" and not is_folded(shell))
    single = any((level.rows, level.columns) == (1, 1) for spec in priors for level in spec.levels)
    if config.batch_size == 1 and moving and single and norms(shell):
        raise OptionError("batch norm cannot be trained on single pictures: use a batch of 2 or more, or norm 'frozen'")
