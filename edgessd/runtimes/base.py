"""What a runtime is, and what one is told when it loads a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from edgessd.model_file.foreign import Labels
from edgessd.ops.outputs import Outputs
from edgessd.spec import ModelSpec


class Runtime(Protocol):
    """An engine with one model loaded.

    `thread_safe` says whether several threads may call `run` at once.
    """

    spec: ModelSpec
    name: str
    thread_safe: bool

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape] of spec.input.dtype; the kind of outputs is the spec's level."""
        ...

    def close(self) -> None:
        """Free the engine. Calling `run` afterwards is an error."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What `load_runtime` hands to an engine; see there."""

    spec: ModelSpec | None = None
    threads: int | None = None
    providers: str | Sequence[str] | None = None
    labels: Labels | None = None
