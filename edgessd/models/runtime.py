"""PyTorch: runs networks on a processor, CUDA or Apple's GPU, without export."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgessd._memory import kept
from edgessd.errors import OptionError, SpecError
from edgessd.ops.outputs import RawOutputs
from edgessd.runtimes.base import Runtime
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec


class TorchRuntime(Runtime):
    """A network in evaluation mode on one device.

    model: a network, which is moved to the device, and its spec; `quantization.runtime` loads them from a checkpoint.
    device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes a GPU where there is one.
    threads: of torch's operators, for the whole process; None lowers torch's setting to `default_threads`.
    half: compute in float16; outputs are float32 all the same.

    On a processor with glibc the process keeps the memory of the network's maps until `close`: clearing it anew for
    every picture takes nearly as long as a large network.

    Raises SpecError where the model's input is not a float32 NCHW tensor, OptionError for a device that this machine
    does not have.
    """

    name = "torch"
    thread_safe = True
    loads_after_fork = False  # OpenMP waits for threads that the child does not have

    def __init__(
        self,
        model: tuple[nn.Module, ModelSpec],
        device: str | None = None,
        threads: int | None = None,
        half: bool = False,
    ) -> None:
        if threads is not None and threads < 1:
            raise OptionError(f"threads must be at least 1, not {threads}")
        now = torch.get_num_threads()
        threads = threads or min(now, default_threads() or now)
        if threads != now:
            torch.set_num_threads(threads)
        self.device = _device(device)
        network, self.spec = model
        if self.spec.input.layout != "NCHW" or self.spec.input.dtype != "float32":
            raise SpecError(
                f"a network in torch takes float32 in NCHW order, the spec of {self.spec.name!r} says "
                f"{self.spec.input.dtype} in {self.spec.input.layout}: run the exported file instead"
            )
        network.eval()  # a quantised graph's returns None
        self._network = network.to(self.device)
        self._memory = ExitStack()
        self._memory.enter_context(kept(enabled=self.device.type == "cpu"))
        self._dtype = torch.float16 if half else torch.float32
        if half:
            network.half()
        if half or self.device.type != "cpu":
            self.name = f"torch ({self.device.type}{'-fp16' if half else ''})"

    def infer(self, batch: NDArray[Any]) -> RawOutputs:
        """Run pictures [B, 3, H, W] float32, normalised as the spec says."""
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(self.device, self._dtype)
            logits, offsets = self._network(x)
        return RawOutputs(logits.float().cpu().numpy(), offsets.float().cpu().numpy())

    def free(self) -> None:
        """Free the network."""
        del self._network
        self._memory.close()


def _device(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise OptionError(f"torch has no device {name!r} on this machine: use 'cpu'") from None
    return device
