"""What happens to batch norm during training.

train        statistics of the batch, and their running average: the usual thing
frozen       running statistics stay; scale and shift are trained
folded       batch norm is folded into the convolutions while training (a quarter faster), and put back as
             one that only adds the bias when the network is saved
reestimated  statistics are measured on the training data first, scale and shift changed so that the
             evaluation stays as it was, then as `train`
auto         `folded` where the weights come folded (TensorFlow's), otherwise `train`
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edgessd.errors import ModelError
from edgessd.models.fold import fold_batch_norm
from edgessd.models.ssd import SSD

Norm = nn.BatchNorm2d


def norms(module: nn.Module) -> list[Norm]:
    """All batch norms of a network."""
    return [layer for layer in module.modules() if isinstance(layer, Norm)]


def is_folded(model: nn.Module) -> bool:
    """Say whether the batch norms only add a bias, as those of a network do that was saved without them."""
    found = norms(model)
    return bool(found) and all(_only_adds(layer) for layer in found)


def _only_adds(layer: Norm) -> bool:
    if layer.running_mean is None or layer.running_var is None or layer.weight is None:
        return False
    # The scale tells such a norm from a new one, whose statistics are 0 and 1 as well but whose scale is 1.
    scale = torch.full_like(layer.weight, math.sqrt(1 + layer.eps))
    return not layer.running_mean.any() and bool((layer.running_var == 1).all()) and torch.equal(layer.weight, scale)


def freeze(module: nn.Module) -> None:
    """Put the batch norms into evaluation mode; call it after every `train()`."""
    for layer in norms(module):
        layer.eval()


class _Pair(NamedTuple):
    conv: str
    norm: str
    eps: float


class Folded:
    """A network without its batch norms, and the way back to the tensors of the original."""

    def __init__(self, model: SSD, example: Tensor) -> None:
        """Fold `model`, which is not changed. Raises ModelError where some of its norms cannot be folded."""
        self.network = fold_batch_norm(model, example).train()
        before, after = model.state_dict(), self.network.state_dict()
        gone = [
            name.removesuffix(".running_mean") for name in before if name.endswith("running_mean") and name not in after
        ]
        grown = [key.removesuffix(".bias") for key in after if key.endswith(".bias") and key not in before]
        if len(gone) != len(norms(model)) or len(gone) != len(grown):
            raise ModelError("this network's batch norm cannot be folded: use norm 'frozen' or 'train'")
        self.pairs = []
        for conv, norm in zip(grown, gone, strict=True):
            layer = model.get_submodule(norm)
            assert isinstance(layer, Norm)
            self.pairs.append(_Pair(conv, norm, layer.eps))
        self._template = {key: value.clone() for key, value in before.items()}
        self._check(model, example)

    def restore(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the original network's state dict for tensors of the folded one."""
        result = dict(self._template)
        result.update((key, value) for key, value in state.items() if key in result)
        for conv, norm, eps in self.pairs:
            bias = state[f"{conv}.bias"]
            result[f"{norm}.weight"] = torch.full_like(bias, math.sqrt(1 + eps))
            result[f"{norm}.bias"] = bias
            result[f"{norm}.running_mean"] = torch.zeros_like(bias)
            result[f"{norm}.running_var"] = torch.ones_like(bias)
        return result

    @torch.no_grad()
    def _check(self, model: SSD, example: Tensor) -> None:
        # Convolutions and norms were paired by their order; a network with another order must not pass.
        for key, value in self.restore(self.network.state_dict()).items():
            if value.shape != self._template[key].shape:
                raise ModelError("this network's batch norm cannot be folded: use norm 'frozen' or 'train'")
        training = model.training
        saved = {key: value.clone() for key, value in model.state_dict().items()}
        model.eval()
        expected = model(example)[0]
        model.load_state_dict(self.restore(self.network.state_dict()))
        got = model(example)[0]
        model.load_state_dict(saved)
        model.train(training)
        if not torch.allclose(expected, got, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            raise ModelError("this network's batch norm cannot be folded: use norm 'frozen' or 'train'")


@torch.no_grad()
def reestimate(model: SSD, batches: Iterable[Tensor]) -> None:
    """Measure every batch norm's statistics on normalised pictures [B, 3, H, W]; the evaluation does not change.

    With the old mean and variance (m, v) and the measured ones (m', v'), the scale becomes
    g' = g * sqrt((v' + eps) / (v + eps)), and the shift b' = b + g * (m' - m) / sqrt(v + eps).
    """
    layers = norms(model)
    sums: dict[int, list[Any]] = {id(layer): [0, 0.0, 0.0] for layer in layers}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        entry = sums[id(module)]
        entry[0] += x.numel() // x.shape[1]
        entry[1] = entry[1] + x.sum(dim=(0, 2, 3))
        entry[2] = entry[2] + x.square().sum(dim=(0, 2, 3))

    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    training = model.training
    model.eval()
    try:
        for images in batches:
            model(images)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    for layer in layers:
        count, total, squares = sums[id(layer)]
        if not count or layer.running_mean is None or layer.running_var is None:
            continue
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=1e-6)
        old_scale = (layer.running_var.double() + layer.eps).sqrt()
        if layer.weight is not None:
            gain = layer.weight.double() / old_scale
            layer.bias.add_(gain * (mean - layer.running_mean.double()))
            layer.weight.copy_(gain * (variance + layer.eps).sqrt())
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
