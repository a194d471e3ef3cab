"""The list of pictures of a run, cut into blocks, in OUT/_plan.

It is written once, when the run begins, and is what the numbers of the blocks refer to: a run that goes on does not
look at the source again, which may have changed. Workers read their blocks from it, so that no process ever holds
the whole list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple

from edgessd.apps.bulk.arrow import pyarrow as pa
from edgessd.apps.bulk.manifest import PLAN
from edgessd.apps.bulk.sources import Paths, Slice, Tables
from edgessd.apps.bulk.storage import Storage
from edgessd.io.address import source_name

BLOCKS_PER_FILE = 256
_SECRET = "_secret"  # in the folder of a plan whose addresses have logins or signatures

_PATHS = pa.schema([("path", pa.binary())])  # bytes, because names of files need not be UTF-8
_SLICES = pa.schema(
    [
        ("first", pa.int64()),
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("start", pa.int64()),
        ("offset", pa.int64()),
        ("rows", pa.int64()),
    ]
)


class Block(NamedTuple):
    """Some pictures of a run. first: index of the first of them. pictures: their paths, or where their bytes lie."""

    number: int
    first: int
    pictures: list[str] | Slice


def write_plan(storage: Storage, source: Paths | Tables, size: int, limit: int | None) -> tuple[int, int]:
    """Write the list of all pictures in blocks of `size`; return the numbers of pictures and of blocks."""
    storage.remove(PLAN)
    storage.make(PLAN)
    if isinstance(source, Paths):
        return _write_paths(storage, source, size, limit)
    return _write_slices(storage, source, size, limit)


def _write_paths(storage: Storage, source: Paths, size: int, limit: int | None) -> tuple[int, int]:
    paths = iter(islice(source.paths, limit))
    pictures, secret = 0, False
    for number in range(10**9):
        chunk = [os.fsencode(path) for path in islice(paths, size * BLOCKS_PER_FILE)]
        if not chunk:
            break
        pictures += len(chunk)
        if not secret and any(map(_has_secret, chunk)):
            secret = True
            storage.close_to_others(PLAN)
            storage.write(f"{PLAN}/{_SECRET}", b"")
        _write(storage, number, pa.table({"path": chunk}, schema=_PATHS), size)
    return pictures, -(-pictures // size)


def _write_slices(storage: Storage, source: Tables, size: int, limit: int | None) -> tuple[int, int]:
    pictures = blocks = 0
    slices = _limited(source.slices(size), limit)
    for number in range(10**9):
        rows = []
        for each in islice(slices, BLOCKS_PER_FILE):
            rows.append({"first": pictures, **each._asdict()})
            pictures += each.rows
        if not rows:
            break
        blocks += len(rows)
        _write(storage, number, pa.Table.from_pylist(rows, schema=_SLICES), 1)
    return pictures, blocks


def _limited(slices: Iterable[Slice], limit: int | None) -> Iterator[Slice]:
    left = limit
    for each in slices:
        if left is None:
            yield each
            continue
        if left <= 0:
            return
        yield each._replace(rows=min(each.rows, left))
        left -= each.rows


def _write(storage: Storage, number: int, table: Any, rows: int) -> None:
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd", row_group_size=rows)
    storage.write(_file(number), sink.getvalue())


def _has_secret(path: bytes) -> bool:
    return b"://" in path and (b"@" in path or b"=" in path) and source_name(text := os.fsdecode(path)) != text


def remove_secret_plan(storage: Storage) -> None:
    """Remove the plan of a result that needs it no more, if there are secrets in it."""
    if _SECRET in storage.names(PLAN):
        storage.remove(PLAN)


def read_block(storage: Storage, number: int, size: int) -> Block:
    """Return one block of the plan. size: pictures in a block."""
    file, group = divmod(number, BLOCKS_PER_FILE)
    with storage.open(_file(file)) as stream:
        table = pa.parquet.ParquetFile(stream).read_row_group(group)
    if "path" in table.schema.names:
        return Block(number, number * size, [os.fsdecode(path) for path in table.column("path").to_pylist()])
    row = table.to_pylist()[0]
    return Block(number, row.pop("first"), Slice(**row))


def count_pictures(storage: Storage, numbers: Iterable[int], size: int, pictures: int) -> int:
    """Return how many pictures these blocks have. numbers: ascending. pictures: of the whole plan."""
    total = 0
    for file, group in groupby(numbers, lambda number: number // BLOCKS_PER_FILE):
        with storage.open(_file(file)) as stream:
            table = pa.parquet.ParquetFile(stream)
            if "rows" not in table.schema_arrow.names:
                total += sum(min(size, pictures - number * size) for number in group)
                continue
            counts = table.read(columns=["rows"]).column("rows").to_pylist()
            total += sum(counts[number % BLOCKS_PER_FILE] for number in group)
    return total


def _file(number: int) -> str:
    return f"{PLAN}/{number:06d}.parquet"
