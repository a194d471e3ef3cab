"""What a runtime is, and what one is told when it loads a file."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from edgessd._forever import keep_for_ever
from edgessd.errors import EdgeSSDError, EngineError, one_line
from edgessd.model_file.foreign import Labels
from edgessd.ops.outputs import Outputs
from edgessd.runtimes import _fork
from edgessd.spec import ModelSpec


class Runtime(ABC):
    """An engine with one model loaded. Any thread may call `run` and `close`, at any time.

    A subclass gives `spec`, `name`, and how the engine computes and ends: `infer` and `free`.

    thread_safe: whether several threads may be inside `infer` at once; where not, they take turns.
    fixed_batch: how many pictures the graph takes at once, None for any number.
    loads_after_fork: whether the engine can be loaded anew in a child of a process in which it ran.
    """

    spec: ModelSpec
    name: str
    thread_safe: bool = False
    fixed_batch: int | None = None
    loads_after_fork: ClassVar[bool] = True

    _closed = _inherited = False
    _lock: threading.Lock

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Raise EngineError for an engine that cannot run in this process."""
        cls.check_process()
        runtime = super().__new__(cls)
        runtime._lock = threading.Lock()
        _fork.watch(runtime)
        return runtime

    @classmethod
    def check_process(cls) -> None:
        """Raise EngineError where this engine ran before the process was forked, and cannot run in it."""
        if cls in _fork.lost:
            raise EngineError(
                "this engine ran before the process was forked, and its threads are missing here: load the model in "
                "the child only, or start the child with multiprocessing's method spawn"
            )

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape] of spec.input.dtype; the kind of outputs is the spec's level.

        Raises EngineError where the engine fails, after `close`, and in a process that was forked behind the loading;
        OptionError for a number of pictures that the file does not take.
        """
        with nullcontext() if self.thread_safe else self._lock:
            self._check_usable()
            try:
                return self.infer(batch)
            except EdgeSSDError:
                raise
            except Exception as error:  # each engine has types of its own, most of them plain Exceptions
                self._check_usable()  # another thread may have closed it meanwhile
                raise EngineError(f"{self.name}: the model cannot be run: {self.reason(error)}") from error

    def close(self) -> None:
        """Free the engine, once no other thread is inside; a second call does nothing."""
        with self._lock:
            if not (self._closed or self._inherited):
                self.free()
            self._closed = True

    @abstractmethod
    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Compute what `run` returns; errors of the engine pass through."""

    def free(self) -> None:  # noqa: B027 (not every engine has something to free)
        """Let go of the engine's memory and threads; called once."""

    def reason(self, error: Exception) -> str:
        """Return what an error of the engine says, as one line."""
        return one_line(error)

    def forked(self) -> None:
        """In the child of a fork: the engine's threads stayed with the parent, so that it can neither run nor end."""
        keep_for_ever(dict(vars(self)))
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._inherited = True

    def _check_usable(self) -> None:
        if self._closed:
            raise EngineError(f"{self.name} was closed: load the model again")
        if self._inherited:
            raise EngineError(
                f"{self.name} was loaded before this process was forked, and its threads are not here: "
                "load the model in the child"
            )


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What `load_runtime` hands to an engine; see there."""

    spec: ModelSpec | None = None
    threads: int | None = None
    providers: str | Sequence[str] | None = None
    labels: Labels | None = None
