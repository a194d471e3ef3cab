"""Exporters: one file per format.

Importing this package loads neither torch nor a converter; its functions do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgessd.export.formats import FORMATS, export_model
    from edgessd.export.onnx import export_onnx

__all__ = ["FORMATS", "export_model", "export_onnx"]

_HOMES = {"FORMATS": "formats", "export_model": "formats", "export_onnx": "onnx"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgessd.export' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgessd.export.{_HOMES[name]}"), name)
