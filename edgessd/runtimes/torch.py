"""PyTorch: runs checkpoints on a processor, CUDA or Apple's GPU, without export."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgessd._memory import kept
from edgessd.errors import OptionError, SpecError, missing_extra
from edgessd.ops.outputs import RawOutputs
from edgessd.spec import ModelSpec

if TYPE_CHECKING:
    from edgessd.models.ssd import SSD


class TorchRuntime:
    """A network in evaluation mode on one device.

    model: a checkpoint (`.safetensors`), or a network and its spec; the network is then moved to the device.
    device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes a GPU where there is one.
    threads: of torch's operators, for the whole process; None leaves torch's setting as it is.
    half: compute in float16; outputs are float32 all the same.

    On a processor with glibc the process keeps the memory of the network's maps until `close`: clearing it anew for
    every picture takes nearly as long as a large network.

    Raises ModelError for a file that is no checkpoint, SpecError where the model's input is not a float32
    NCHW tensor, OptionError for a device that this machine does not have, DependencyError without torch.
    """

    name = "torch"
    thread_safe = True

    def __init__(
        self,
        model: str | os.PathLike[str] | tuple[SSD, ModelSpec],
        device: str | None = None,
        threads: int | None = None,
        half: bool = False,
    ) -> None:
        try:
            import torch
        except ImportError:
            raise missing_extra("torch", "torch") from None
        self._torch = torch
        if threads is not None:
            if threads < 1:
                raise OptionError(f"threads must be at least 1, not {threads}")
            torch.set_num_threads(threads)
        self.device = _device(torch, device)
        network, self.spec = model if isinstance(model, tuple) else _load(model)
        if self.spec.input.layout != "NCHW" or self.spec.input.dtype != "float32":
            raise SpecError(
                f"a network in torch takes float32 in NCHW order, the spec of {self.spec.name!r} says "
                f"{self.spec.input.dtype} in {self.spec.input.layout}: run the exported file instead"
            )
        network.eval()  # a quantised graph's returns None
        self._network: SSD | None = network.to(self.device)
        self._memory = ExitStack()
        self._memory.enter_context(kept(enabled=self.device.type == "cpu"))
        self._dtype = torch.float16 if half else torch.float32
        if half:
            network.half()
        if half or self.device.type != "cpu":
            self.name = f"torch ({self.device.type}{'-fp16' if half else ''})"

    def run(self, batch: NDArray[Any]) -> RawOutputs:
        """Run pictures [B, 3, H, W] float32, normalised as the spec says."""
        if self._network is None:
            raise RuntimeError("the runtime is closed")
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(self.device, self._dtype)
            logits, offsets = self._network(x)
        return RawOutputs(logits.float().cpu().numpy(), offsets.float().cpu().numpy())

    def close(self) -> None:
        """Free the network."""
        self._network = None
        self._memory.close()


def _load(path: str | os.PathLike[str]) -> tuple[Any, ModelSpec]:
    """The network of a checkpoint; of a quantised one the integer graph, as torch computes it."""
    from edgessd.models.checkpoint import load_checkpoint
    from edgessd.quantization.recipe import is_quantized

    if not is_quantized(path):
        return load_checkpoint(path)
    from edgessd.quantization.network import load_quantized

    quantized = load_quantized(path)
    return quantized.converted(batch="dynamic", fold=True), quantized.spec


def _device(torch: Any, name: str | None) -> Any:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise OptionError(f"torch has no device {name!r} on this machine: use 'cpu'") from None
    return device
