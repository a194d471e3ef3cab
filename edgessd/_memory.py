"""Keeping the memory of tensors between two runs of a network in torch on a processor.

glibc gives every large block back to the system when it is freed, and the system clears every page of the next one:
with the maps of a batch this takes as long as the computing. While `kept()` is entered, freed blocks stay with the
process. Where the C library is another one, nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4

_lock = threading.Lock()
_entered = 0


@contextmanager
def kept(*, enabled: bool = True) -> Iterator[None]:
    """Keep freed blocks until the end, then give back what is free. What the user set by MALLOC_* stays.

    For the whole process; entered more than once, it lasts until the last is left.
    """
    library = _glibc() if enabled and not any(name.startswith("MALLOC_") for name in os.environ) else None
    if library is None:
        yield
        return
    _enter(library)
    try:
        yield
    finally:
        _leave(library)


def _enter(library: ctypes.CDLL) -> None:
    global _entered
    with _lock:
        _entered += 1
        if _entered == 1:
            library.mallopt(_MMAP_MAX, 0)  # all blocks come from the heap,
            library.mallopt(_TRIM_THRESHOLD, -1)  # and its end never moves back


def _leave(library: ctypes.CDLL) -> None:
    global _entered
    with _lock:
        _entered -= 1
        if _entered == 0:
            # glibc's defaults, except that the thresholds no longer adapt themselves.
            library.mallopt(_MMAP_MAX, 65536)
            library.mallopt(_TRIM_THRESHOLD, 128 * 1024)
            library.mallopt(_MMAP_THRESHOLD, 128 * 1024)
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
