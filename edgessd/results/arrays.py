"""The arrays of a result: what they may be, which rows an index means, and their shortest exact decimals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgessd._shapes import Float32, Float64, Floats
from edgessd.errors import InputError


def checked(name: str, values: ArrayLike, dtype: type, columns: int | None = None) -> NDArray[Any]:
    """Return values as an array [N], or [N, columns], of `dtype`; the same array where it is one already.

    Labels (int64) must be whole numbers. Raises InputError, which calls the array by its `name`.
    """
    wanted = "[N]" if columns is None else f"[N, {columns}]"
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError(f"{name} must have shape {wanted}") from None
    tail = () if columns is None else (columns,)
    if not array.size and array.ndim <= 1 + len(tail) and array.shape[:1] in ((), (0,)):
        return np.zeros((0, *tail), dtype)
    kinds = "iu" if dtype is np.int64 else "iuf"
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} must be {'whole ' if kinds == 'iu' else ''}numbers, not of type {array.dtype}")
    if array.ndim != 1 + len(tail) or array.shape[1:] != tail:
        raise InputError(f"{name} must have shape {wanted}, not {list(array.shape)}")
    if array.dtype == dtype:
        return array
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise InputError(f"{name} must be numbers that float32 holds") from None


def rows(place: Any) -> NDArray[Any]:
    """Return positions, or a mask, as an array [M]. Raises TypeError for anything else."""
    array = np.asarray(place)
    if array.ndim != 1:
        raise TypeError(f"detections are picked by position, slice, positions or a mask, not by {type(place).__name__}")
    return array if array.size or array.dtype == bool else array.astype(np.int64)


def shortest(values: Float32[Floats, "*axes"]) -> Float64[NDArray[np.float64], "*axes"]:
    """Return float32 as the float64 with the fewest digits that becomes the same float32 again."""
    short: NDArray[np.float64] = values.astype("U32").astype(np.float64)
    return np.where(short.astype(np.float32) == values, short, values.astype(np.float64))
