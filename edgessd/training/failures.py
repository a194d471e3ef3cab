"""What cannot be used in the middle of a run: pictures that cannot be read, and a loss that is no number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgessd.datasets import LabelledSet
from edgessd.errors import InputError, OptionError
from edgessd.io.files import atomic_write, write_text_atomic
from edgessd.training.data import Batch
from edgessd.training.update import Group, NotFiniteError


def note_unreadable(
    batches: Iterable[Batch],
    unreadable: dict[int, str],
    *,
    out: Path,
    pictures: int,
    share: float,
    say: Callable[[str], None],
) -> None:
    """Add the pictures of these batches that could not be read to `unreadable`, and list it in `out`.

    Raises InputError where they are more than that share of all pictures.
    """
    for batch in batches:
        for index, reason in batch.failures:
            if index not in unreadable:
                unreadable[index] = reason
                say(f"skipped: {reason}")
    if unreadable:
        write_text_atomic(out / "unreadable.txt", "\n".join(unreadable.values()) + "\n")
    if len(unreadable) > share * pictures:
        raise InputError(
            f"{len(unreadable)} of {pictures} pictures cannot be read, more than "
            f"{share:.0%}: mend or remove them, they are listed in {out / 'unreadable.txt'}"
        )


def give_up(
    error: NotFiniteError, group: Group, data: LabelledSet, *, out: Path, update: int, process: int
) -> NoReturn:
    """Save the batch that gave no number, where it is this process's, and raise OptionError."""
    path = out / f"bad_batch_{update}_process{process}.npz"
    if error.mine:
        arrays: dict[str, Any] = {}
        for number, (batch, other) in enumerate(group):
            for name in ("images", "boxes", "labels", "valid", "indices"):
                arrays[f"{name}_{number}"] = getattr(batch, name).cpu().numpy()
            paths = [str(data.samples[index].image) for index in batch.indices.tolist()]
            arrays[f"paths_{number}"] = np.array(paths, dtype=str)
            if other is not None:
                arrays[f"unlabelled_{number}"] = other.images.cpu().numpy()
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **arrays)
    raise OptionError(
        f"the loss or its gradient is no longer a number at update {update} "
        f"(learning rate {error.rate:.2g}): lower --lr or raise --warmup; the batch is in {path}, "
        f"the last good weights in {out}"
    ) from None
