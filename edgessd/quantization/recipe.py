"""What a quantised checkpoint says about itself besides its spec, readable without torchao."""

from __future__ import annotations

import os
from typing import Literal

from msgspec import Struct
from safetensors import SafetensorError, safe_open

from edgessd.spec import ModelSpec

RECIPE_KEY = "edgessd.recipe"


class Recipe(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a float network became the prepared graph.

    source: spec of the float network. keep_float: patterns of modules that stay float. torch: its version, by
    which the graph was captured. equalized: channel ranges were made equal (`equalization`). rounding: `nearest`, or
    `adaptive` where the weights lie on their grids already and the scales in the file are theirs.
    """

    source: ModelSpec
    keep_float: tuple[str, ...] = ()
    torch: str = ""
    equalized: bool = False
    rounding: Literal["nearest", "adaptive"] = "nearest"


def is_quantized(path: str | os.PathLike[str]) -> bool:
    """Say whether a checkpoint was quantised, from its header alone; False for anything that is no checkpoint."""
    try:
        with safe_open(str(path), framework="pt") as reader:
            return RECIPE_KEY in (reader.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False
