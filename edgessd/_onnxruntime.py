"""The one door to onnxruntime.

Since version 1.29 its package reports to its makers over the network, and keeps a database of its own in the user's
home, unless ORT_DISABLE_TELEMETRY is set before it is imported; a switch in its API comes too late. The thread that
does so also keeps a forked child from ending. Packages of the workshop (onnxscript, onnxslim) import onnxruntime by
themselves, so `edgessd/__init__.py` calls `silence` before anything of theirs can be imported.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def silence() -> None:
    """Switch onnxruntime's telemetry off for this process and its children, where the user has not decided himself."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_onnxruntime() -> ModuleType:
    """Return the module `onnxruntime`. Raises DependencyError where it is missing or cannot start."""
    from edgessd.errors import DependencyError

    silence()
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise DependencyError(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from None
