"""The one door to OpenVINO.

Its Python package reports its own import, and every conversion, to its makers over the network, from a process that
it forks, unless the user opted out. A library in somebody's robot does not do that: the reporting package is hidden
while OpenVINO is imported, which then uses its own silent stand-in.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from edgessd.errors import missing_extra

_REPORTER = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Return the module `openvino`. Raises DependencyError, which names the extra, where it is not installed."""
    hidden = "openvino" not in sys.modules and _REPORTER not in sys.modules
    if hidden:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # an import of it fails now
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "openvino") from None
    finally:
        if hidden:
            del sys.modules[_REPORTER]
