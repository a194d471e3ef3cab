"""What all formats have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from edgessd.errors import ModelError, SpecError, printable
from edgessd.spec import ModelSpec

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class TensorFact:
    """An input or output: shape with None for free sizes (None altogether: unknown), numpy's name of the type.

    scale, zero_point: of an integer tensor that stands for real numbers.
    """

    name: str
    shape: Shape | None
    dtype: str
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True)
class Detection:
    """A `TFLite_Detection_PostProcess` at the end of a graph.

    inputs: offsets, scores, anchors. outputs: positions among the graph's outputs of locations, classes, scores
    and count.
    options: the operator's own, such as `num_classes`.
    """

    inputs: tuple[TensorFact, ...]
    outputs: tuple[int, ...]
    options: dict[str, float]


@dataclass(frozen=True)
class FileFacts:
    """A model file without its weights.

    spec_text: the JSON of its spec, None where it has none. labels: class names at the place where the
    format's own tools look, None where there are none. labels_at: that place, in words.
    weights: numpy's names of the types of the constants. aliases: other names of outputs, each with the tensor's.
    detection: where a TFLite graph ends in one. mean, scale: a float input is (p - mean) / scale, where the standard
    TFLite metadata says so.
    """

    kind: str
    spec_text: bytes | None
    inputs: tuple[TensorFact, ...] = ()
    outputs: tuple[TensorFact, ...] = ()
    labels: tuple[str, ...] | None = None
    labels_at: str = ""
    weights: frozenset[str] = frozenset()
    aliases: dict[str, str] = field(default_factory=dict)
    detection: Detection | None = None
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def spec(self, path: str | Path) -> ModelSpec:
        """Return the spec. Raises SpecError where there is none, or one that cannot be read."""
        if self.spec_text is None:
            raise no_spec(path)
        return ModelSpec.from_json(self.spec_text)


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file. Raises ModelError where that is not possible."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ModelError(f"{printable(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def no_spec(path: str | Path) -> SpecError:
    """Return the error for a file of another tool."""
    return SpecError(
        f"{printable(path)} carries no edgessd spec (it was made by another tool): describe it in a JSON file and "
        "pass --spec FILE, or spec= in Python; `edgessd info MODEL --json` shows one of a bundled model"
    )


def damaged(what: str) -> NoReturn:
    """Raise the ModelError of a file whose inside does not hold together."""
    raise ModelError(f"the file is truncated or damaged ({what}): copy or export the model again")
