"""Folders and files that may lie in a bucket: s3:// and gs:// through Arrow's file systems, the rest as paths.

Keys, region and endpoint of a bucket come from the environment, as for every program of its maker
(AWS_ACCESS_KEY_ID, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgessd.apps.bulk.arrow import pyarrow
from edgessd.errors import InputError, printable
from edgessd.io.address import url_scheme
from edgessd.io.files import make_folder, write_bytes_atomic, writing
from edgessd.io.local import local_path

BUCKETS = ("s3", "gs")
CONNECT_SECONDS = 10
REQUEST_SECONDS = 30


class Storage:
    """A folder, local or in a bucket.

    address: as the user gave it. Every method raises InputError for what the system refuses, and names the file.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") or address
        self.fs, self.root = file_system(self.address)
        self.local = not in_bucket(address)

    def place(self, name: str) -> str:
        """Return the path of a file of this folder in its file system."""
        return f"{self.root}/{name}"

    def shown(self, name: str) -> str:
        """Return the name of a file for a message."""
        return printable(f"{self.address}/{name}")

    def names(self, folder: str = "", *, files: bool = False) -> list[str]:
        """Return the sorted names of what lies directly in this folder, or in one inside it; none where it is missing.

        files: only of files.
        """
        place = self.place(folder) if folder else self.root
        with _reading(self.shown(folder)):
            found = self.fs.get_file_info(pyarrow.fs.FileSelector(place, allow_not_found=True))
        return sorted(info.base_name for info in found if not files or info.type == pyarrow.fs.FileType.File)

    def open(self, name: str) -> Any:
        """Open a file to read at any place."""
        with _reading(self.shown(name)):
            return self.fs.open_input_file(self.place(name))

    def read(self, name: str) -> bytes:
        """Return all bytes of a file."""
        with self.open(name) as file, _reading(self.shown(name)):
            return bytes(file.read())

    def write(self, name: str, data: Any) -> None:
        """Write a file (bytes or an Arrow buffer) atomically: a reader sees all of it or nothing."""
        if self.local:
            write_bytes_atomic(self.place(name), memoryview(data))
            return
        with writing(Path(self.shown(name))), self.fs.open_output_stream(self.place(name)) as stream:
            stream.write(data)  # a bucket shows an object when it is whole

    def make(self, folder: str = "") -> None:
        """Make this folder, or one inside it. A bucket has none to be made."""
        if self.local:
            make_folder(Path(self.place(folder)))

    def close_to_others(self, folder: str) -> None:
        """Let only its owner read a folder inside this one. Of a bucket, its own policy decides."""
        if self.local:
            with writing(Path(self.place(folder))):
                Path(self.place(folder)).chmod(0o700)

    def remove(self, folder: str) -> None:
        """Remove a folder inside this one with all it holds, if it is there."""
        if self.local:
            shutil.rmtree(self.place(folder), ignore_errors=True)
        else:
            with _reading(self.shown(folder)):
                self.fs.delete_dir_contents(self.place(folder), missing_dir_ok=True)

    def remove_temporary(self) -> None:
        """Remove what killed workers left half written."""
        if self.local:
            for name in self.names():
                if name.startswith(".part-"):
                    Path(self.place(name)).unlink(missing_ok=True)


def in_bucket(address: str) -> bool:
    """Whether an address is one of a bucket."""
    return url_scheme(address) in BUCKETS


def file_system(address: str) -> tuple[Any, str]:
    """Return Arrow's file system for an address or a local path, and the path in it (local ones absolute)."""
    address = local_path(address)
    scheme = url_scheme(address)
    if scheme in BUCKETS:
        rest = address.split("://", 1)[1]
        if "@" in rest.split("/", 1)[0] or ":" in rest.split("/", 1)[0]:
            raise InputError(f"{printable(address)}: keys do not stand in the address: set them in the environment")
        if not rest.split("/", 1)[0]:
            raise InputError(f"{printable(address)}: names no bucket: write {scheme}://BUCKET/FOLDER")
        return _bucket_system(scheme, rest.split("/", 1)[0]), rest
    if scheme is not None:
        raise InputError(f"{printable(address)}: {scheme} addresses cannot be used here, only s3, gs and paths")
    return pyarrow.fs.LocalFileSystem(), str(Path(address).absolute())


@lru_cache(maxsize=64)
def _bucket_system(scheme: str, bucket: str) -> Any:
    with _reading(f"{scheme}://{bucket}"):
        if scheme == "gs":
            return pyarrow.fs.GcsFileSystem()
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if region is None and endpoint is None:
            region = pyarrow.fs.resolve_s3_region(bucket)
        return pyarrow.fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
        )


def read_object(address: str, max_bytes: int) -> bytes:
    """Return the bytes at an address in a bucket. Raises InputError, also where there are more than `max_bytes`."""
    fs, path = file_system(address)
    with _reading(printable(address)), fs.open_input_stream(path) as stream:
        data = bytes(stream.read(max_bytes + 1))
    if len(data) > max_bytes:
        raise InputError(f"{printable(address)}: larger than the limit of {max_bytes / 2**20:.4g} MiB: scale it down")
    return data


@contextmanager
def _reading(shown: str) -> Iterator[None]:
    """Turn what a file system answers into InputError, on one line."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{shown}: there is nothing at this address") from None
    except (OSError, pyarrow.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{shown}: cannot be read: {printable(reason, 300)}") from error
