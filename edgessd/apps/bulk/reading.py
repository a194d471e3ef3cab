"""The bytes of the pictures of one block, read ahead of the worker that detects in them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from edgessd.apps.bulk.manifest import Source
from edgessd.apps.bulk.plan import Block
from edgessd.apps.bulk.sources import Slice, column_of, open_parquet
from edgessd.apps.bulk.storage import in_bucket, read_object
from edgessd.errors import InputError, printable
from edgessd.io.address import source_name, url_scheme
from edgessd.io.images import read_encoded

DOWNLOADS = 16
"""Addresses that are read at a time; the waits of one are the work of another."""

READ_AHEAD = 128 * 2**20
"""Bytes of one block that are read before the worker asks for them; the rest it reads itself."""

MAX_BYTES = 64 * 2**20

_AT_ONCE = 8


class Picture(Struct):
    """One picture before its detection.

    data: the bytes of its file. error: why they could not be read. With neither, it is still to be read.
    milliseconds: of reading.
    """

    path: str
    data: bytes | None = None
    error: str | None = None
    milliseconds: float = 0.0


def read_ahead(block: Block, source: Source) -> list[Picture]:
    """Return the pictures of a block in order, read up to the limit of bytes.

    Those of a disk are left to the worker (`each_read`): to read them there is cheaper than to hand them over.
    """
    if isinstance(block.pictures, Slice):
        return list(_from_table(block.pictures, source.columns))
    return _from_paths(block.pictures, source.root)


def each_read(pictures: Sequence[Picture], root: str) -> Iterator[Picture]:
    """Yield the pictures, read; the next few of those that were not read ahead are read in a thread meanwhile."""
    groups = [pictures[start : start + _AT_ONCE] for start in range(0, len(pictures), _AT_ONCE)]
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(_read_all, groups[0], root) if groups else None
        for number in range(len(groups)):
            assert coming is not None
            now = coming.result()
            if number + 1 < len(groups):
                coming = thread.submit(_read_all, groups[number + 1], root)
            yield from now


def _read_all(pictures: Sequence[Picture], root: str) -> list[Picture]:
    return [read_picture(each.path, root) if each.data is None and each.error is None else each for each in pictures]


def read_picture(path: str, root: str) -> Picture:
    """Read one picture. root: where relative paths start."""
    started = time.perf_counter()
    picture = Picture(path)
    try:
        if in_bucket(path):
            picture.data = read_object(path, MAX_BYTES)
        elif url_scheme(path) is not None or not path:
            picture.data = read_encoded(path)
        else:
            picture.data = read_encoded(Path(root) / path)
    except InputError as error:
        picture.error = str(error)
    picture.milliseconds = (time.perf_counter() - started) * 1e3
    return picture


def _from_paths(paths: Sequence[str], root: str) -> list[Picture]:
    if all(url_scheme(path) is None for path in paths):
        return [Picture(path) for path in paths]
    pictures: list[Picture] = []
    size = 0
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        for start in range(0, len(paths), DOWNLOADS):
            group = paths[start : start + DOWNLOADS]
            if size >= READ_AHEAD:
                pictures += map(Picture, group)
                continue
            pictures += threads.map(read_picture, group, [root] * len(group))
            size += sum(len(each.data or b"") for each in pictures[-len(group) :])
    return pictures


def _from_table(wanted: Slice, columns: Sequence[str]) -> Iterator[Picture]:
    """Yield the pictures of a slice. A file that went away since the plan was made is an error of each of them."""
    left, skip = wanted.rows, wanted.start
    names = [f"{wanted.file}#{wanted.offset + number}" for number in range(wanted.rows)]
    try:
        with open_parquet(wanted.file) as table:
            for batch in table.iter_batches(batch_size=64, row_groups=[wanted.row_group], columns=list(columns)):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                part = batch.slice(skip, left)
                skip, left = 0, left - part.num_rows
                given = column_of(part, columns[1]).to_pylist() if len(columns) > 1 else [None] * part.num_rows
                for data, name in zip(column_of(part, columns[0]).to_pylist(), given, strict=True):
                    path = name or names[0]
                    names.pop(0)
                    yield Picture(path, data, None if data else f"{printable(path)}: the column holds no bytes")
                if left <= 0:
                    return
    except (InputError, OSError) as error:
        for name in names:
            yield Picture(name, error=f"{printable(name)}: cannot be read: {printable(error)}")


def shown_path(path: str) -> str:
    """Return a path as UTF-8 can hold it (bytes that are none become backslash escapes), an address without secrets."""
    return os.fsencode(source_name(path)).decode("utf-8", errors="backslashreplace")
