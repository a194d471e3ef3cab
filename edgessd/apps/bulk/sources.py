"""From what the user names to pictures: folders, patterns, lists, Parquet files, buckets."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from edgessd._text import decode_lines
from edgessd.apps.bulk.arrow import pyarrow as pa
from edgessd.apps.bulk.storage import file_system, in_bucket
from edgessd.errors import InputError, OptionError, did_you_mean, printable
from edgessd.io.address import url_scheme
from edgessd.io.formats import SUFFIXES
from edgessd.io.local import is_pattern, local_path
from edgessd.io.sources import expand

LIST_SUFFIX = ".txt"
TABLE_SUFFIX = ".parquet"
NAME_COLUMNS = ("path", "url", "uri", "file", "file_name", "filename", "name")


class Slice(NamedTuple):
    """Consecutive rows of one row group of a Parquet file. start: first row in the group; offset: in the file."""

    file: str
    row_group: int
    start: int
    offset: int
    rows: int


class Paths(NamedTuple):
    """Pictures that have a path or an address each."""

    paths: Iterable[str]


class Tables(NamedTuple):
    """Pictures whose bytes lie in Parquet files. columns: of the bytes, and of the names, if any."""

    files: Sequence[str]
    columns: tuple[str, ...]

    def slices(self, size: int) -> Iterator[Slice]:
        """Yield all rows in slices of at most `size`, none across a row group."""
        for file in self.files:
            offset = 0
            with open_parquet(file) as table:
                for group in range(table.num_row_groups):
                    rows = table.metadata.row_group(group).num_rows
                    for start in range(0, rows, size):
                        yield Slice(file, group, start, offset + start, min(size, rows - start))
                    offset += rows


def find_pictures(source: str | os.PathLike[str] | Iterable[str], column: str | None = None) -> Paths | Tables:
    """Return where the pictures of a source are.

    source: a folder, a pattern, a picture, a text file (.txt) with one path or address a line, Parquet files, each
    also in a bucket; or an iterable of paths and addresses. Paths may be relative. column: of Parquet files: paths
    or bytes; None takes the only one there is.
    Raises InputError where there is nothing, OptionError for a column that is none.
    """
    if not isinstance(source, str | os.PathLike):
        return Paths(str(each) for each in source)
    text = local_path(os.fspath(source))
    if text.lower().endswith(LIST_SUFFIX) and not is_pattern(text):
        found = Paths(_lines(text))
    else:
        files = _bucket_files(text) if in_bucket(text) else _local_files(text)
        if _is_table(files[0]):
            return _tables(files, column)
        found = Paths(files)
    if column is not None:
        raise OptionError(f"--column is for Parquet files, and {printable(text)} is none")
    return found


def _lines(address: str) -> Iterator[str]:
    """Yield the lines of a text file that are not empty."""
    fs, path = file_system(address)
    number = 0
    try:
        with fs.open_input_stream(path) as stream:
            for line in decode_lines(iter(lambda: bytes(stream.read(1 << 20)), b"")):
                number += 1
                if line.strip():
                    yield line.strip()
    except UnicodeDecodeError as error:  # of a piece, whose lines have not been counted
        number += 1 + error.object.count(b"\n", 0, error.start)
        raise InputError(
            f"{printable(address)}: line {number} is no text: give a UTF-8 file with one path or address a line"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{printable(address)}: no such file: check the path") from None
    except OSError as error:
        raise InputError(f"{printable(address)}: cannot be read: {printable(error.strerror or error)}") from error


def _local_files(text: str) -> list[str]:
    path = Path(text)
    if url_scheme(text) is None:
        if path.is_dir():
            tables = sorted(str(each) for each in path.iterdir() if _is_table(each.name))
            if tables:
                return tables
        elif not path.exists() and not is_pattern(text):
            raise InputError(f"{printable(text)}: no such file or folder: check the path (now in {Path.cwd()})")
    return [str(each) for each in expand(text)]


def _bucket_files(address: str) -> list[str]:
    """Return the files of a bucket that an address names: one object, those directly in a folder, or a pattern."""
    fs, path = file_system(address)
    scheme = address.split("://", 1)[0]
    parts = PurePosixPath(path).parts
    try:
        fixed = _fixed(fs, parts)
        base = "/".join(parts[:fixed])
        if fixed == len(parts):
            info = fs.get_file_info(base)
            if info.type == pa.fs.FileType.File:
                return [f"{scheme}://{base}"]
            wanted = re.compile(re.escape(base) + "/[^/]*")
        else:
            wanted = re.compile(re.escape(base + "/") + _pattern("/".join(parts[fixed:])))
        selector = pa.fs.FileSelector(base, allow_not_found=True, recursive="**" in parts or fixed < len(parts) - 1)
        found = sorted(each.path for each in fs.get_file_info(selector) if each.type == pa.fs.FileType.File)
    except OSError as error:
        raise InputError(f"{printable(address)}: cannot be read: {printable(error, 300)}") from error
    files = [each for each in found if wanted.fullmatch(each)]
    tables = [each for each in files if _is_table(each)]
    if fixed == len(parts):
        files = [each for each in files if PurePosixPath(each).suffix.lower() in SUFFIXES]
    chosen = tables or files
    if not chosen:
        raise InputError(
            f"{printable(address)}: no pictures or Parquet files there: check the address, or give a pattern such as "
            f"{printable(address.rstrip('/'))}/**/*.jpg"
        )
    return [f"{scheme}://{each}" for each in chosen]


def _fixed(fs: Any, parts: Sequence[str]) -> int:
    """Return how many parts in front are names: without `*`, `?` and `[`, or there as they are written."""
    for place, part in enumerate(parts):
        if glob.has_magic(part) and fs.get_file_info("/".join(parts[: place + 1])).type == pa.fs.FileType.NotFound:
            return place
    return len(parts)


def _pattern(text: str) -> str:
    """Translate a pattern in which `*` and `?` stop at a slash and `**/` stands for any folders."""
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(tokens.get(part) or _set(part) for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", text))


def _set(part: str) -> str:
    return f"[{part[1:-1].replace('!', '^', 1)}]" if part.startswith("[") and part.endswith("]") else re.escape(part)


def _is_table(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.lower().endswith(TABLE_SUFFIX) and not name.startswith((".", "_"))


def open_parquet(address: str) -> Any:
    """Open a Parquet file. Raises InputError."""
    fs, path = file_system(address)
    try:
        return pa.parquet.ParquetFile(fs.open_input_file(path))
    except FileNotFoundError:
        raise InputError(f"{printable(address)}: no such file: check the path") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{printable(address)}: is no Parquet file: {printable(error)}") from None


def _tables(files: list[str], column: str | None) -> Paths | Tables:
    with open_parquet(files[0]) as first:
        schema = first.schema_arrow
    if not in_bucket(files[0]):
        files = [str(Path(file).absolute()) for file in files]
    leaves = dict(_leaves(schema))
    pictures = [name for name, kind in leaves.items() if _is_bytes(kind)]
    texts = [name for name, kind in leaves.items() if _is_text(kind)]
    chosen = column or _only(pictures) or _named(texts) or _only(texts)
    if chosen is None or chosen not in (*pictures, *texts):
        known = ", ".join((*pictures, *texts)) or "none of either"
        start = f"no column {column!r}{did_you_mean(column, leaves)}" if column else "which column?"
        raise OptionError(f"{printable(files[0])}: {start}: --column takes one of paths or bytes; it has {known}")
    if chosen in texts:
        return Paths(_texts(files, chosen))
    name = next((each for each in (f"{chosen.rpartition('.')[0]}.path", _named(texts)) if each in texts), None)
    return Tables(files, (chosen,) if name is None else (chosen, name))


def _leaves(schema: Any) -> Iterator[tuple[str, Any]]:
    for field in schema:
        if pa.types.is_struct(field.type):
            yield from ((f"{field.name}.{inner.name}", inner.type) for inner in field.type)
        else:
            yield field.name, field.type


def _is_bytes(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _named(names: Sequence[str]) -> str | None:
    return next((name for name in NAME_COLUMNS if name in names), None)


def _texts(files: Sequence[str], column: str) -> Iterator[str]:
    for file in files:
        with open_parquet(file) as table:
            for batch in table.iter_batches(batch_size=1 << 16, columns=[column]):
                yield from (each or "" for each in column_of(batch, column).to_pylist())


def column_of(batch: Any, name: str) -> Any:
    """Return a column of a batch, or a field of a struct in it (`image.bytes`)."""
    outer, _, inner = name.partition(".")
    if name in batch.schema.names or not inner:
        return batch.column(name)
    return pa.compute.struct_field(batch.column(outer), inner)
