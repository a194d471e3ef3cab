"""A new folder that is there as a whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgessd.errors import InputError, printable
from edgessd.io.files import followed, sync_tree, temporary_beside, writing


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place when the block ends well.

    Raises InputError where `folder` cannot be made, or is there and not empty.
    """
    check_new(folder)
    target = followed(folder).absolute()
    temporary = temporary_beside(target)
    with writing(folder, temporary):
        temporary.mkdir()
        try:
            yield temporary
            sync_tree(temporary)
            if target.exists():
                target.rmdir()
            temporary.replace(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def check_new(folder: Path) -> None:
    """Raise InputError where a folder cannot be made, or is there and not empty."""
    with writing(folder):
        taken = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if taken:
        raise InputError(f"{printable(folder)} is already there: give -o a new folder, or remove it first")
    above = followed(folder).absolute().parent
    if not above.is_dir():
        raise InputError(f"cannot write {printable(folder)}: there is no folder {printable(above)}")
