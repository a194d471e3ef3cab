"""A checkpoint in torch, whether it holds a float network or a quantised one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgessd.errors import OptionError, printable
from edgessd.models.checkpoint import load_checkpoint
from edgessd.models.runtime import TorchRuntime
from edgessd.quantization.recipe import is_quantized
from edgessd.runtimes.base import LoadOptions
from edgessd.spec import ModelSpec


def load_network(path: str | os.PathLike[str]) -> tuple[Any, ModelSpec]:
    """Return network and spec of a checkpoint; of a quantised one the integer graph, as torch computes it.

    Raises ModelError for a file that is no checkpoint.
    """
    if not is_quantized(path):
        return load_checkpoint(path)
    from edgessd.quantization.network import load_quantized

    quantized = load_quantized(path)
    return quantized.converted(batch="dynamic", fold=True), quantized.spec


def load(path: Path, options: LoadOptions) -> TorchRuntime:
    """Load a checkpoint for `load_runtime`; its one provider is a device: `cpu`, `cuda`, `mps`, `cuda-fp16`."""
    TorchRuntime.check_process()  # building the network computes as well
    if options.spec is not None:
        raise OptionError("a checkpoint has its own spec: leave out --spec")
    providers = [options.providers] if isinstance(options.providers, str) else list(options.providers or ())
    if len(providers) > 1:
        raise OptionError(f"a checkpoint runs on one device, not on {len(providers)}: use cpu, cuda, cuda-fp16 or mps")
    device, _, precision = (providers[0] if providers else "").partition("-")
    if precision not in ("", "fp16"):
        raise OptionError(f"torch has no provider {printable(providers[0])!r}: use cpu, cuda, cuda-fp16 or mps")
    return TorchRuntime(load_network(path), device or None, options.threads, half=precision == "fp16")
