"""Where a run computes, in which precision, and with how many processes that load pictures."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from edgessd.training.config import TrainConfig


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Return Accelerate's handle of the device and the processes that the command was launched with."""
    amp = config.amp
    if amp == "auto":
        amp = "bf16" if _bf16_is_faster(config.device) else "no"
    if AcceleratorState._shared_state:  # an earlier run of this process may have had another precision
        AcceleratorState._reset_state()
    return Accelerator(mixed_precision=amp, cpu=config.device == "cpu")


def _bf16_is_faster(device: str | None) -> bool:
    """Say whether the processor or GPU computes in bfloat16; where it only emulates it, it is several times slower."""
    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.get_device_capability()[0] >= 8)
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())


def channels_last(network: nn.Module) -> None:
    """Store the weights of convolutions channels last: twice as fast on processors, and no slower on GPUs."""
    for value in network.parameters():
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)


def workers_for(wanted: int | None, processes: int) -> int:
    """Return `wanted`, or the processors less one shared among the training processes, 1 to 8 of them."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, (cores - 1) // max(1, processes)))
