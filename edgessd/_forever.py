"""Objects that must never be freed: what has native threads of its own, in the child of a fork.

An engine's or a decoder's threads do not come along, and freeing it, which happens at the latest when the child
ends, waits for them for ever.
"""

from __future__ import annotations

import ctypes


def keep_for_ever(value: object) -> None:
    """Never free an object, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
