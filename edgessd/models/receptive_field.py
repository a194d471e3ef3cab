"""Which part of the picture a cell sees, measured on the network itself."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from edgessd.models.layers import SameConv2d
from edgessd.models.ssd import SSD

# Squeeze and excitation and its kin, by their classes' names in timm and torchvision.
_GATES = ("squeezeexcit", "semodule", "effectivese", "ecamodule", "cecamodule", "globalcontext", "gatherexcite")


def receptive_fields(model: SSD, size: int | tuple[int, int]) -> list[int | None]:
    """Return for each level the side in pixels of the input region that its centre cell sees.

    size: of the input, or (width, height). A side is the longer one of the region, at most the input's.
    None where it cannot be told: the level does not react to the picture in this measure (attention).

    Measured on a copy in which every convolution averages, pooling averages too, and normalisations and
    activations pass their input on, by the gradient of the centre cell. What a gate over the whole picture
    (squeeze and excitation) adds is left out: it sees everything, everywhere, but not where it is.
    """
    width, height = (size, size) if isinstance(size, int) else size
    probe = _linear_copy(model)
    x = torch.ones(1, 3, height, width, requires_grad=True)
    whole = max(width, height)
    fields: list[int | None] = []
    for level in probe.features(x):
        if fields and fields[-1] == whole:
            # Each level is made from the one before it and can only see more.
            fields.append(whole)
            continue
        centre = level[0, :, level.shape[2] // 2, level.shape[3] // 2].sum()
        (gradient,) = torch.autograd.grad(centre, x, retain_graph=True)
        fields.append(_extent(gradient[0]))
    return fields


def _extent(gradient: Tensor) -> int | None:
    seen = gradient.abs().sum(dim=0) > 0
    sides = [
        int(lines.nonzero().max() - lines.nonzero().min()) + 1 for lines in (seen.any(0), seen.any(1)) if lines.any()
    ]
    return max(sides) if sides else None


class _Averaging(nn.Module):
    """A convolution of equal weights that add up to one, at a fraction of its cost.

    With equal weights all outputs of a group are the same, so one channel per group is computed.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        groups = conv.groups
        self.repeats = conv.out_channels // groups
        kind = SameConv2d if "same" in type(conv).__name__.lower() else nn.Conv2d
        # Any: the attributes are tuples of two, nn.Conv2d's annotations leave their length open.
        shape: dict[str, Any] = {name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")}
        self.conv: nn.Conv2d = kind(groups, groups, groups=groups, bias=False, **shape)
        self.conv.weight.requires_grad_(False).fill_(1 / self.conv.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        mean = x.view(batch, self.conv.groups, -1, height, width).mean(dim=2)
        result: Tensor = self.conv(mean)
        return result.repeat_interleave(self.repeats, dim=1)


def _linear_copy(model: SSD) -> SSD:
    """Return a copy in which nothing but the reach of the convolutions and poolings is left."""
    probe = copy.deepcopy(model).cpu().float().eval()
    for parameter in probe.parameters():
        parameter.requires_grad_(False)
    _linearize(probe)
    return probe


def _linearize(module: nn.Module) -> None:
    for name, child in module.named_children():
        replacement = _replacement(child)
        if replacement is not None:
            setattr(module, name, replacement)
        else:
            _linearize(child)


def _replacement(module: nn.Module) -> nn.Module | None:
    kind = type(module).__name__.lower()
    if isinstance(module, nn.Conv2d):
        return _Averaging(module)
    if type(module) is nn.MaxPool2d:
        return nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
    if "norm" in kind and not any(isinstance(child, nn.Conv2d) for child in module.modules()):
        return nn.Identity()
    if type(module).__module__ in _ACTIVATIONS or kind.startswith(_GATES):
        return nn.Identity()
    return None


_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "timm.layers.activations_me")
