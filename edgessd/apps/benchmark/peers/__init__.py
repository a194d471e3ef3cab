"""Detectors of the SSD paper's table that are not files of ours, each as a `Detector`, so that all are measured alike.

Their names begin with `paper:` (networks in torch, with random weights) or `yolox:` (an ONNX file of YOLOX).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgessd.detector import Detector
from edgessd.errors import OptionError, missing_extra

SSD300, SSD512, FASTER_RCNN = "paper:SSD300", "paper:SSD512", "paper:Faster R-CNN VGG16"
YOLOX = "yolox:"
PROPOSALS = 6000
"""Boxes that Faster R-CNN's first stage hands to its suppression: the paper's column "# Boxes"."""


def is_peer(model: str) -> bool:
    """Whether a model's name means one of these."""
    return model.startswith(("paper:", YOLOX))


def open_peer(model: str, provider: str, threads: int | None, thresholds: Mapping[str, Any]) -> Detector:
    """Load one. provider: `cpu`, `cuda`, `cuda-fp16` (torch) or `tensorrt` (YOLOX). Raises EdgeSSDError."""
    if model.startswith(YOLOX):
        from edgessd.apps.benchmark.peers.yolox import YoloxRuntime

        return Detector(YoloxRuntime(model.removeprefix(YOLOX), provider, threads), **thresholds)
    try:
        from edgessd.models.paper import faster_rcnn, ssd
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "torch") from None
    makers: dict[str, Callable[..., Any]] = {
        SSD300: lambda *options: ssd("ssd300_vgg16", *options),
        SSD512: lambda *options: ssd("ssd512_vgg16", *options),
        FASTER_RCNN: lambda provider, threads: faster_rcnn(provider, threads, PROPOSALS),
    }
    if model not in makers:
        raise OptionError(f"unknown detector {model!r}: there are {', '.join(makers)}")
    return Detector(makers[model](provider, threads), **thresholds)
