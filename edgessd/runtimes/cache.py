"""Runtimes that stay loaded for the next call of `edgessd.detect`."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

from edgessd.model_file.foreign import Labels
from edgessd.runtimes.base import Runtime
from edgessd.runtimes.load import load_runtime
from edgessd.spec import ModelSpec


class RuntimeCache:
    """The runtimes that were used last, `size` of them at most; the one that was not used for longest goes first.

    A file is known by its resolved path, inode, size and time of change: written anew, it is loaded anew, and what
    was loaded of it goes. A runtime that goes is not closed, since another thread may be using it: it ends with its
    last user. In the child of a fork the cache is empty. Any thread may call `get`; one at a time loads.
    """

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._empty()
        if hasattr(os, "register_at_fork"):  # behind the hook of the runtimes themselves, which keeps them from ending
            os.register_at_fork(after_in_child=self._empty)

    def _empty(self) -> None:
        self._lock = threading.Lock()
        self._loaded: OrderedDict[Hashable, Runtime] = OrderedDict()

    def get(
        self,
        path: Path,
        runtime: str | None = None,
        threads: int | None = None,
        spec: ModelSpec | None = None,
        providers: str | Sequence[str] | None = None,
        labels: Labels | None = None,
    ) -> Runtime:
        """Return the runtime for a file, loaded by `load_runtime` with these options where it is not here yet."""
        if providers is not None and not isinstance(providers, str):
            providers = tuple(providers)
        if labels is not None and not isinstance(labels, (str, Path)):
            labels = tuple(labels)
        described = spec.to_json() if spec is not None else None
        names = _stamp(Path(labels)) if isinstance(labels, (str, Path)) else labels
        options = (str(_resolved(path)), runtime, threads, described, providers, names)
        key = (options, tuple(_stamp(file) for file in _files(path)))
        with self._lock:
            if key not in self._loaded:
                for other in [other for other in self._loaded if other[0] == options]:  # type: ignore[index]
                    del self._loaded[other]
                self._loaded[key] = load_runtime(
                    path, runtime=runtime, spec=spec, threads=threads, providers=providers, labels=labels
                )
            self._loaded.move_to_end(key)
            while len(self._loaded) > self._size:
                self._loaded.popitem(last=False)
            return self._loaded[key]


def _files(path: Path) -> list[Path]:
    """A model file, and the files beside it in which exporters put its weights."""
    beside = [path.with_suffix(".bin"), path.with_name(f"{path.name}.data"), path.with_name(f"{path.name}_data")]
    return [path, *(file for file in beside if file.is_file())]


def _stamp(path: Path) -> Hashable:
    """What tells a file from another one, and from itself before it was written anew; its name where it is missing."""
    resolved = _resolved(path)
    try:
        status = resolved.stat()
    except (OSError, ValueError):
        return str(path)
    return str(resolved), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL: whoever opens the file says so
        return path
