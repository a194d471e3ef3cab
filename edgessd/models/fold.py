"""Fold batch norm into the convolution before it: the same function with fewer layers."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgessd._torchvision import timm
from edgessd.models.layers import SameConv2d

_M = TypeVar("_M", bound=nn.Module)

# Kinds whose forward uses `weight` and `bias` as they are; others (weight standardisation) would not notice.
_CONVOLUTIONS = (nn.Conv2d, SameConv2d, timm.layers.Conv2dSame)
_NORMS = (nn.BatchNorm2d, timm.layers.BatchNormAct2d)


def fold_batch_norm(model: _M, example: Tensor) -> _M:
    """Return a copy of `model`, in evaluation mode, with every foldable batch norm inside its convolution.

    example: an input; the model is run on it once, to see which convolution feeds which norm. A pair is
    folded where the norm alone reads the convolution's output and both run once. What a norm does besides
    (timm's have their activation inside) stays. `model` itself is not changed. Modules with parallel
    branches for training only (RepVGG, MobileOne, FastViT) are merged into one convolution first.
    """
    folded = copy.deepcopy(model).eval()
    folded = timm.utils.reparameterize_model(folded, inplace=True)
    pairs = _find_pairs(folded, example)
    with torch.no_grad():
        for conv, norm in pairs.values():
            _fold(conv, norm)
    _replace(folded, {id(norm): _rest(norm) for _, norm in pairs.values()})
    return folded


def _find_pairs(model: nn.Module, example: Tensor) -> dict[int, tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Run the model and return its (convolution, norm) pairs by the id of the norm."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the id of the output, which is kept alive here
    read: list[tuple[nn.BatchNorm2d, Tensor]] = []
    runs: Counter[int] = Counter()

    def after_convolution(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        runs[id(module)] += 1
        made[id(output)] = (module, output)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        runs[id(module)] += 1
        read.append((module, inputs[0]))

    handles = []
    for module in model.modules():
        if type(module) in _CONVOLUTIONS:
            handles.append(module.register_forward_hook(after_convolution))
        elif type(module) in _NORMS and getattr(module, "track_running_stats", False):
            handles.append(module.register_forward_pre_hook(before_norm))
    uses = _Uses()
    try:
        with torch.no_grad(), uses:
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    pairs = {}
    for norm, tensor in read:
        conv = made[id(tensor)][0] if id(tensor) in made else None
        if conv is not None and uses.count[id(tensor)] == 1 and runs[id(conv)] == runs[id(norm)] == 1:
            pairs[id(norm)] = (conv, norm)
    return pairs


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often each tensor is read by an operator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()
        self._alive: list[Tensor] = []  # an id is only a name while its tensor lives

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in torch.utils._pytree.tree_leaves((args, kwargs or {})):
            if isinstance(value, Tensor):
                self.count[id(value)] += 1
                self._alive.append(value)
        return func(*args, **(kwargs or {}))


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """W' = w g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + beta; in float64, stored as before."""
    assert norm.running_mean is not None and norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    shift = -norm.running_mean.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double()
    shift = shift * factor
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    kind = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * factor[:, None, None, None]).to(kind))
    conv.bias = nn.Parameter(shift.to(kind))


def _rest(norm: nn.Module) -> nn.Module:
    """What a norm layer does besides normalising: timm's may drop and activate."""
    rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
    rest = [layer for layer in rest if not isinstance(layer, nn.Identity)]
    if not rest:
        return nn.Identity()
    return rest[0] if len(rest) == 1 else nn.Sequential(*rest)


def _replace(module: nn.Module, replacements: dict[int, nn.Module]) -> None:
    for name, child in module.named_children():
        if id(child) in replacements:
            setattr(module, name, replacements[id(child)])
        else:
            _replace(child, replacements)
