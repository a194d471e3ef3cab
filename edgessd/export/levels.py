"""The network as it is traced.

The postprocessing of higher levels is put into finished files: `onnx_file`, `onnx_layouts`, `tflite_file`.
"""

from __future__ import annotations

from torch import Tensor, nn


class Half(nn.Module):
    """A network that computes in float16 between float32 inputs and outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> logits, offsets."""
        logits, offsets = self.network(x.half())
        return logits.float(), offsets.float()
