"""The network: backbone, neck, extra levels, head. No priors, no decoding and no image lists inside.

B batch, P priors, K class columns (C + 1 for softmax, C for sigmoid), H and W pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgessd._shapes import Float
from edgessd.backbones import Backbone, create_backbone
from edgessd.errors import OptionError, SpecError
from edgessd.models.extras import make_extras
from edgessd.models.heads import Head
from edgessd.models.necks import TopDown
from edgessd.spec import ArchitectureSpec, ModelSpec


class SSD(nn.Module):
    """Single-shot detector (Liu et al. 2016): raw predictions for every prior, one graph, exportable as it is."""

    def __init__(self, backbone: Backbone, extras: nn.ModuleList, head: Head, neck: TopDown | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.extras = extras
        self.head = head

    def features(self, x: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the maps of all levels, finest first, [B, C, H, W] each."""
        maps: list[Tensor] = list(self.backbone(x))
        if self.neck is not None:
            maps[0] = self.neck(maps[0], maps[1])
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p k"], Float[Tensor, "b p 4"]]:
        """Return logits [B, P, K] and offsets [B, P, 4] (cx, cy, w, h) of pictures [B, 3, H, W].

        The pictures are normalised as the model's `InputSpec` says. Rows are in the order of the
        priors: level, row, column, prior of the cell.
        """
        logits, offsets = self.head(self.features(x))
        return logits, offsets


def assemble(
    architecture: ArchitectureSpec, boxes: Sequence[int], columns: int, backbone: Backbone | None = None
) -> SSD:
    """Return the network of `architecture` with `boxes` priors per cell on each level and `columns` class columns.

    backbone: use this one instead of creating it. Raises OptionError where the number of levels differs.
    """
    if backbone is None:
        backbone = create_backbone(architecture.backbone, **architecture.backbone_options)
    extras = make_extras(architecture.head, backbone.feature_channels[-1], architecture.extras, architecture.pad_type)
    channels = [*backbone.feature_channels, *(layer.channels for layer in architecture.extras)]
    neck = None
    if architecture.top_down:
        if len(backbone.feature_channels) < 2:
            raise OptionError(f"{architecture.backbone} gives one map here: a top-down step needs two")
        neck = TopDown(channels[:2], architecture.top_down)
        channels[0] = architecture.top_down
    if len(channels) != len(boxes):
        raise OptionError(
            f"{architecture.backbone} with {len(architecture.extras)} extra layers has {len(channels)} levels, "
            f"the priors are for {len(boxes)}: they must agree"
        )
    return SSD(backbone, extras, Head(architecture.head, channels, boxes, columns), neck)


def build_ssd(spec: ModelSpec, backbone: Backbone | None = None) -> SSD:
    """Return the network that `spec` describes, with random weights, in training mode.

    The network is run once without data at the size of the spec's input; the sizes of its maps and the
    number of its rows and columns must be those of the spec.

    Raises SpecError where the spec has no architecture or its priors are for other maps than the network
    has, OptionError where the backbone is unknown or does not accept its options or the input's size.
    """
    if spec.architecture is None:
        raise SpecError(f"the spec of {spec.name!r} has no architecture, so the network cannot be built from it")
    levels = spec.priors.levels
    model = assemble(spec.architecture, [len(level.boxes) for level in levels], spec.num_logits, backbone)
    measured = measure_maps(model, spec.input.height, spec.input.width)
    for index, (level, size) in enumerate(zip(levels, measured, strict=True)):
        if (level.rows, level.columns) != size:
            raise SpecError(
                f"level {index + 1} of {spec.name!r} has a map of {size[0]}x{size[1]} cells at input "
                f"{spec.input.height}x{spec.input.width}, the spec's priors are for {level.rows}x{level.columns}"
            )
    return model


def measure_maps(model: SSD | Backbone, height: int, width: int) -> list[tuple[int, int]]:
    """Return the (rows, columns) of each level for an input of that size, by a run without data.

    Raises OptionError where the network does not accept the size.
    """
    dry = copy.deepcopy(model).eval().to("meta")
    try:
        with torch.no_grad():
            x = torch.zeros(1, 3, height, width, device="meta")
            maps = dry.features(x) if isinstance(dry, SSD) else dry(x)
    except Exception as error:  # whatever a foreign backbone raises for a size it does not take
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise OptionError(f"the network does not accept an input of {height}x{width}: {line}") from None
    return [(level.shape[2], level.shape[3]) for level in maps]
