"""What a graph's tensors must look like by its spec: held at load, at every run, and by `edgessd info --validate`.

Shapes are sequences whose first entry is the batch; entries that are not ints are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import OptionError, SpecError, printable
from edgessd.ops.outputs import DecodedOutputs, FinalOutputs, Outputs, RawOutputs
from edgessd.spec import ModelSpec

ROWS = ("detections7", "opencv")
FOREIGN = "the spec does not belong to this file"


def output_shapes(spec: ModelSpec) -> list[tuple[int, ...]]:
    """Return the shape of each output without the batch, in the order of `spec.output.names`."""
    priors, most = spec.priors.count, spec.defaults.max_detections
    if spec.output.layout in ROWS:
        return [(1, most, 7)]
    if spec.output.layout == "jetson":
        return [(priors, len(spec.classes) + 1), (priors, 4)]
    if spec.output.level == "raw":
        return [(priors, spec.num_logits), (priors, 4)]
    if spec.output.level == "decoded":
        return [(priors, len(spec.classes)), (priors, 4)]
    return [(most, 4), (most,), (most,), ()]


def fits(shape: Sequence[Any], expected: Sequence[int]) -> bool:
    """Whether `shape`, with a batch in front, can be `expected`."""
    return len(shape) == len(expected) + 1 and all(
        not isinstance(n, (int, np.integer)) or n == m for n, m in zip(shape[1:], expected, strict=True)
    )


def check_batch(fixed: int | None, count: int) -> None:
    """Hold a number of pictures against what a graph takes at once, None for any number. Raises OptionError."""
    if fixed is not None and count != fixed:
        raise OptionError(f"the model was exported for batches of {fixed}, not {count}")


def check_input(spec: ModelSpec, shapes: Sequence[Sequence[Any]], dtypes: Sequence[str], what: object) -> None:
    """Hold a graph's inputs, of which there must be one, against the spec. Raises SpecError.

    dtypes: numpy's names of the types.
    """
    wanted = spec.input.tensor_shape
    if len(shapes) != 1 or not fits(shapes[0], wanted) or dtypes[0] != spec.input.dtype:
        found = ", ".join(f"{dtype} {_text(shape)}" for dtype, shape in zip(dtypes, shapes, strict=True))
        raise SpecError(
            f"{printable(what)}: the graph takes {found or 'nothing'}, its spec says one {spec.input.dtype} input "
            f"[B, {', '.join(map(str, wanted))}]: {FOREIGN}"
        )


def check_scale(spec: ModelSpec, scale: float, zero_point: int, what: object) -> None:
    """Hold the quantisation of an integer input against the spec. Raises SpecError."""
    ours = spec.input.quantization_scale or 0.0
    if abs(scale - ours) > 1e-5 * ours or zero_point != spec.input.quantization_zero_point:
        raise SpecError(
            f"{printable(what)}: the input has scale {scale:.8g} and zero point {zero_point}, its spec says "
            f"{ours:.8g} and {spec.input.quantization_zero_point}: {FOREIGN}"
        )


def check_names(spec: ModelSpec, found: Sequence[str], what: object) -> None:
    """Hold the names of a graph's outputs against the spec. Raises SpecError where one is missing."""
    if not set(spec.output.names) <= set(found):
        raise SpecError(
            f"{printable(what)}: the spec names the outputs {_names(spec.output.names)}, the graph has {_names(found)}"
        )


def check_outputs(spec: ModelSpec, shapes: Sequence[Sequence[Any]], what: object) -> None:
    """Hold a graph's output shapes, in the order of the spec's names, against the spec. Raises SpecError."""
    for name, shape, expected in zip(spec.output.usual_names, shapes, output_shapes(spec), strict=True):
        if not fits(shape, expected):
            classes = f"{len(spec.classes)} classes, {spec.scores}"
            raise SpecError(
                f"{printable(what)}: the graph's {name} have shape {_text(shape)}, its spec says "
                f"{_text(('B', *expected))} ({classes}): {FOREIGN}"
            )


def to_outputs(spec: ModelSpec, arrays: Sequence[NDArray[Any]]) -> Outputs:
    """Name the arrays that a graph answered with, in the order of the spec's names. Raises SpecError for others."""
    check_outputs(spec, [array.shape for array in arrays], "the model")
    for name, array in zip(spec.output.usual_names, arrays, strict=True):
        integers = name in ("labels", "count")
        if array.dtype.kind not in ("iu" if integers else "f"):
            kind = "integers" if integers else "floating point numbers"
            raise SpecError(f"the model's {name} are {array.dtype}, not {kind}: {FOREIGN}")
    if spec.output.layout in ROWS:
        return _rows(_floats(arrays[0])[:, 0])
    if spec.output.layout == "jetson":
        return DecodedOutputs(_floats(arrays[0])[..., 1:], _floats(arrays[1]))
    if spec.output.level == "raw":
        return RawOutputs(_floats(arrays[0]), _floats(arrays[1]))
    if spec.output.level == "decoded":
        return DecodedOutputs(_floats(arrays[0]), _floats(arrays[1]))
    return FinalOutputs(_floats(arrays[0]), _floats(arrays[1]), _ints(arrays[2]), _ints(arrays[3]))


def _rows(rows: NDArray[np.float32]) -> FinalOutputs:
    """Read rows [B, K, 7]; the first without an image, a score, or a label that is one, is behind the last."""
    image, label, score = rows[..., 0], rows[..., 1], rows[..., 2]
    good = np.isfinite(rows).all(2) & (image >= 0) & (label >= 0) & (label < 2**31) & (score > 0)
    labels = np.where(good, np.rint(np.where(good, label, 0)), -1)
    counts = np.where(good.all(1), good.shape[1], np.argmin(good, 1))
    return FinalOutputs(rows[..., 3:], score, _ints(labels), _ints(counts))


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(array, np.float32)


def _ints(array: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(array, np.int64)


def _text(shape: Sequence[Any]) -> str:
    return printable("[" + ", ".join(map(str, shape)) + "]", 80)


def _names(names: Sequence[str]) -> str:
    return printable(tuple(names), 300)
