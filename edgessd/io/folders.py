"""A new folder that is there as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgessd.errors import InputError, printable
from edgessd.io.files import writing


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place when the block ends well.

    Raises InputError where `folder` cannot be made, or is there and not empty.
    """
    check_new(folder)
    with writing(folder):
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            temporary.replace(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def check_new(folder: Path) -> None:
    """Raise InputError where a folder cannot be made, or is there and not empty."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{printable(folder)} is already there: give -o a new folder, or remove it first")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"cannot write {printable(folder)}: there is no folder {printable(folder.absolute().parent)}")
