"""The network as it is traced, and the spec's level.

The postprocessing of higher levels is put into finished files: `onnx_file`, `tflite_file`.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from torch import Tensor, nn

from edgessd.spec import OUTPUT_NAMES, ModelSpec, OutputSpec


def with_level(spec: ModelSpec, level: Literal["raw", "decoded", "nms"]) -> ModelSpec:
    """Return the spec of a graph with that level."""
    return msgspec.structs.replace(spec, output=OutputSpec(level=level, names=OUTPUT_NAMES[level]))


class Half(nn.Module):
    """A network that computes in float16 between float32 inputs and outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> logits, offsets."""
        logits, offsets = self.network(x.half())
        return logits.float(), offsets.float()
