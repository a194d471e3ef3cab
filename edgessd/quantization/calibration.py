"""Calibration pictures: always the user's, counted and hashed, through the one preprocessing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgessd.errors import InputError, OptionError
from edgessd.io.images import load_image
from edgessd.io.sources import expand
from edgessd.ops.preprocess import preprocess
from edgessd.spec import InputSpec

BATCH = 16


@dataclass(frozen=True)
class Calibration:
    """Pictures that could be read, the SHA-256 of their files one after the other, and what could not be read."""

    paths: tuple[Path, ...]
    sha256: str
    failures: tuple[str, ...] = ()

    def batches(self, tensor: InputSpec, size: int = BATCH) -> Iterator[Tensor]:
        """Yield normalised pictures [B, 3, H, W] float32."""
        for start in range(0, len(self.paths), size):
            pictures = [preprocess(load_image(path), tensor) for path in self.paths[start : start + size]]
            yield torch.from_numpy(np.stack(pictures))


def calibration_pictures(pictures: str | os.PathLike[str] | Iterable[Path], limit: int | None = None) -> Calibration:
    """Return the pictures of a folder, or these files; with `limit` so many of them, evenly chosen by name.

    A picture that cannot be read is left out and named in `failures`.
    Raises InputError where the folder is missing or holds no readable picture, OptionError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"at least one calibration picture is needed, not {limit}")
    if not isinstance(pictures, str | os.PathLike):
        shown, paths = "the list", sorted(pictures)
    elif Path(pictures).is_dir():
        shown, paths = str(pictures), sorted(Path(str(item)) for item in expand(pictures))
    else:
        raise InputError(f"there is no folder of calibration pictures {pictures}: check the path")
    if limit is not None and limit < len(paths):
        paths = [paths[index * len(paths) // limit] for index in range(limit)]
    readable, failures = [], []
    for path in paths:
        try:
            load_image(path)
        except InputError as error:
            failures.append(str(error))
        else:
            readable.append(path)
    if not readable:
        raise InputError(
            f"{shown} holds no picture that can be read: give a folder with a hundred pictures or more like those "
            "that the model will see"
        )
    return hashed(tuple(readable), tuple(failures))


def hashed(paths: tuple[Path, ...], failures: tuple[str, ...] = ()) -> Calibration:
    """Return the set of these pictures with the hash of their files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return Calibration(paths, digest.hexdigest(), failures)
