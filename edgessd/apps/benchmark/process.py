"""Memory of this process in megabytes (10^6 bytes)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident_memory() -> float | None:
    """Return what is resident now; None where the system does not say."""
    return _from_status("VmRSS")


def peak_memory() -> float | None:
    """Return the most that was ever resident.

    Linux's VmHWM, which begins anew with a new program; `ru_maxrss`, used elsewhere, keeps the peak of the
    process that started this one.
    """
    peak = _from_status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _from_status(key: str) -> float | None:
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None
