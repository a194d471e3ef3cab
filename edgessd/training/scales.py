"""Multi-scale training: each batch has one of several input sizes, with the priors of that size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edgessd.errors import OptionError
from edgessd.models.presets import LARGEST, SMALLEST
from edgessd.models.ssd import SSD, measure_maps
from edgessd.spec import ModelSpec, PriorLevel, PriorSpec

# Sizes of a range are multiples of this: the coarsest stride of a backbone.
STRIDE = 32
# Tells the random numbers that choose sizes from those that shuffle the data.
_STREAM = 1


@dataclass(frozen=True)
class SizeChoice:
    """Which input size the batches of a step have: the same in every process, and in a resumed run."""

    sizes: tuple[int, ...]
    seed: int

    def __call__(self, epoch: int, step: int) -> int:
        """Side of the input in pixels."""
        return self.sizes[int(np.random.default_rng([self.seed, _STREAM, epoch, step]).integers(len(self.sizes)))]


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes that `256,320,384` lists, or the multiples of 32 that `256-384` spans, its ends included.

    Raises OptionError for anything else.
    """
    first, dash, last = text.partition("-")
    try:
        given = [int(first), int(last)] if dash else [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(
            f"multi_scale is a list of sizes (256,320,384) or a range of multiples of {STRIDE} (256-384), not {text!r}"
        ) from None
    if any(not SMALLEST <= size <= LARGEST for size in given):
        raise OptionError(f"multi_scale {text}: sizes are {SMALLEST} to {LARGEST} pixels")
    if not dash:
        return tuple(sorted(set(given)))
    low, high = given
    if low % STRIDE or high % STRIDE or low > high:
        raise OptionError(f"multi_scale {text}: a range goes from a multiple of {STRIDE} up to another one")
    return tuple(range(low, high + 1, STRIDE))


def priors_of_sizes(model: SSD, spec: ModelSpec, sizes: Sequence[int]) -> dict[tuple[int, int], PriorSpec]:
    """Return the priors by input (height, width): those of the spec, and those of every other size.

    Boxes keep their share of the picture, so that every size learns the same task. Raises OptionError where the
    network does not accept a size or the input is not square.
    """
    main = (spec.input.height, spec.input.width)
    result = {main: spec.priors}
    if sizes and main[0] != main[1]:
        raise OptionError(f"multi-scale training needs a square input, not {main[1]}x{main[0]}: leave multi_scale out")
    for size in sizes:
        if (size, size) not in result:
            try:
                maps = measure_maps(model, size, size)
            except OptionError as error:
                raise OptionError(f"multi_scale {size}: {error}; leave this size out") from None
            levels = tuple(
                _level(level, rows, columns, main[0], size)
                for level, (rows, columns) in zip(spec.priors.levels, maps, strict=True)
            )
            result[size, size] = msgspec.structs.replace(spec.priors, levels=levels)
    return result


def _level(level: PriorLevel, rows: int, columns: int, main: int, size: int) -> PriorLevel:
    """The same boxes on another map."""
    step = None
    if level.step is not None:
        x, y = level.step
        # A step that divides the picture evenly does so on the other map; another is a stride in pixels, and stays it.
        step = (
            1 / columns if abs(x * level.columns - 1) < 1e-6 else x * main / size,
            1 / rows if abs(y * level.rows - 1) < 1e-6 else y * main / size,
        )
    return msgspec.structs.replace(level, rows=rows, columns=columns, step=step)
