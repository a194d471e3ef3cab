"""SSD object detectors on edge and mobile devices.

>>> import edgessd
>>> edgessd.detect("photo.jpg")

Importing this module loads nothing heavy; numpy, OpenCV and onnxruntime come with the first use,
torch only when a checkpoint is run, trained or exported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgessd._onnxruntime import silence

__version__ = "0.1.0"

silence()

if TYPE_CHECKING:
    from edgessd.detector import Detector, detect
    from edgessd.errors import EdgeSSDError
    from edgessd.io.images import load_image
    from edgessd.results import Detection, Detections
    from edgessd.spec import ModelSpec

__all__ = [
    "Detection",
    "Detections",
    "Detector",
    "EdgeSSDError",
    "ModelSpec",
    "__version__",
    "detect",
    "load_image",
]

_HOMES = {
    "Detection": "results",
    "Detections": "results",
    "Detector": "detector",
    "EdgeSSDError": "errors",
    "ModelSpec": "spec",
    "detect": "detector",
    "load_image": "io.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgessd' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgessd.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
