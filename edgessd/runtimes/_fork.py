"""What becomes of loaded engines in the child of a fork.

An engine's threads do not come along. Running it there may wait for them for ever, and so does freeing it, which
happens at the latest when the child ends. So a child keeps what it inherits for ever, without using it.
"""

from __future__ import annotations

import os
import weakref
from typing import ClassVar, Protocol


class Forkable(Protocol):
    """A runtime, as far as it matters here."""

    loads_after_fork: ClassVar[bool]

    def forked(self) -> None:
        """Called in the child."""
        ...


_loaded: weakref.WeakSet[Forkable] = weakref.WeakSet()
_kinds: set[type[Forkable]] = set()
lost: set[type[Forkable]] = set()
"""The kinds of engines that ran in the parent and cannot even be loaded anew in this process."""


def watch(runtime: Forkable) -> None:
    """Call `forked` of this runtime in every child for as long as it lives."""
    _loaded.add(runtime)
    _kinds.add(type(runtime))


def _in_child() -> None:
    lost.update(kind for kind in _kinds if not kind.loads_after_fork)
    for runtime in list(_loaded):
        runtime.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
