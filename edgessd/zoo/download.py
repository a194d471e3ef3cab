"""Fetching weights once: cache, resume, checksum."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

from edgessd.errors import DownloadError, InputError
from edgessd.io.address import Address, is_url
from edgessd.io.files import printable, put_in_place
from edgessd.io.remote import FAILURES, HttpError, announced_bytes, failure, open_url, parts


def cache_folder() -> Path:
    """Return the folder of fetched files: $EDGESSD_CACHE, else $XDG_CACHE_HOME/edgessd, else ~/.cache/edgessd."""
    own = os.environ.get("EDGESSD_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "edgessd"
    except RuntimeError:
        raise DownloadError("this user has no home folder: set EDGESSD_CACHE to a folder for fetched files") from None


def fetch(
    url: str,
    sha256_prefix: str,
    name: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
    timeout: float = 30.0,
    max_bytes: int = 4 * 2**30,
) -> Path:
    """Return the local file of `url`; the first call downloads it, with a progress bar on a terminal.

    sha256_prefix: at least 8 hexadecimal digits that the file's SHA-256 starts with, as in the names of
        PyTorch's weights (`ssd300_vgg16_coco-b556d3b4.pth`). A file in the cache is checked as well.
    name: of the file in the cache; None takes the last part of the address.
    cache: folder; None is `cache_folder()`.
    timeout: seconds to wait for the server each time, not for the whole.
    max_bytes: a file that grows beyond this is given up.

    A download that was cut goes on where it stopped, when the server can do that. Several processes may
    fetch the same file at once: the first does the work, the others wait for it. Raises DownloadError.
    """
    shown, address = printable(url), _parse_url(url)
    name = name or Path(unquote(address.path)).name
    digest = sha256_prefix.lower()
    if not 8 <= len(digest) <= 64 or not set(digest) <= set(string.hexdigits):
        raise DownloadError(f"{shown}: {sha256_prefix!r} is no SHA-256 prefix: give 8 to 64 hexadecimal digits")
    if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
        raise DownloadError(f"{shown}: {name!r} is no file name: give one with name=")
    folder = Path(cache) if cache is not None else cache_folder()
    target = folder / name
    if _matches(target, digest):
        return target
    by_hand = f"or put the file at {printable(target)} by hand"
    if not is_url(url):
        raise DownloadError(f"{shown}: only http and https addresses can be fetched: check it, {by_hand}")
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / f".{name}.lock"):
        if _matches(target, digest):  # another process fetched it while this one waited
            return target
        part = folder / f"{name}.{digest[:16]}.part"
        resumed = part.exists()
        _download(address, part, by_hand, progress=progress, timeout=timeout, max_bytes=max_bytes)
        if resumed and not _matches(part, digest):  # what was there may have been of another file
            part.unlink()
            _download(address, part, by_hand, progress=progress, timeout=timeout, max_bytes=max_bytes)
        found = _sha256(part)
        if not found.startswith(digest):
            part.unlink()
            raise DownloadError(
                f"{shown}: what came has the SHA-256 {found[: len(digest)]}... instead of {digest}: "
                f"try again, {by_hand}"
            )
        try:
            put_in_place(part, target)
        except InputError as error:
            raise DownloadError(str(error)) from None
    return target


def _parse_url(url: str) -> Address:
    try:
        return Address.parse(url)
    except InputError as error:
        raise DownloadError(str(error)) from None


def _download(url: Address, part: Path, by_hand: str, *, progress: bool, timeout: float, max_bytes: int) -> None:
    """Fetch `url` into `part`, going on behind what is already there."""
    problem = f"{url}: cannot be fetched"
    try:
        _attempt(url, part, progress=progress, timeout=timeout, max_bytes=max_bytes)
    except HttpError as error:
        if error.status != 416 or not part.exists():
            raise DownloadError(f"{problem}: {failure(error)}: check the address, {by_hand}") from None
        # There is nothing behind what is here: it is the whole file already, or too much. The checksum
        # decides about a whole one; too much starts over.
        if not _is_complete(error, part):
            part.unlink()
            _download(url, part, by_hand, progress=progress, timeout=timeout, max_bytes=max_bytes)
    except FAILURES as error:
        kept = f" ({part.stat().st_size} bytes are kept, the next try goes on from there)" if part.exists() else ""
        raise DownloadError(f"{problem}: {failure(error)}{kept}: try again, {by_hand}") from None


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Tell the disk's errors from the network's, which are OSErrors too."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write in {printable(folder)}: {error.strerror or error}: "
            "set EDGESSD_CACHE to a folder with room that you may write to"
        ) from error


def _matches(path: Path, digest: str) -> bool:
    try:
        return path.is_file() and _sha256(path).startswith(digest)
    except OSError:
        return False


def _is_complete(error: HttpError, part: Path) -> bool:
    """Whether a 416 answer says that the file has exactly the bytes that are there (`Content-Range: bytes */N`)."""
    match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
    return match is not None and int(match.group(1)) == part.stat().st_size


def _attempt(url: Address, part: Path, *, progress: bool, timeout: float, max_bytes: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    with open_url(url, timeout=timeout, headers={"Range": f"bytes={have}-"} if have else None) as response:
        content_range = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        resumed = response.status == 206 and content_range is not None and int(content_range.group(1)) == have
        if response.status == 206 and not resumed:
            raise http.client.HTTPException("the server sent another range than was asked for")
        start = have if resumed else 0  # a server without ranges sends the whole file again
        announced = announced_bytes(response)
        total = start + announced if announced is not None else None
        with _disk(part.parent):
            file = part.open("ab" if resumed else "wb")
        with file, _bar(part.name, start, total, enabled=progress) as advance:
            received = start
            for chunk in parts(response):
                with _disk(part.parent):
                    file.write(chunk)
                received += len(chunk)
                advance(len(chunk))
                if received > max_bytes:
                    break
    if received > max_bytes:
        part.unlink()
        raise DownloadError(f"{url}: larger than {max_bytes} bytes: check the address")


@contextlib.contextmanager
def _bar(name: str, start: int, total: int | None, *, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that moves a progress bar on stderr; without a terminal it does nothing."""
    if not enabled or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name.rsplit(".", 2)[0], total=total, completed=start)
        yield lambda count: bar.advance(task, count)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the operating system frees it when its holder ends, however it ends.

    Some network drives know no locks: there the checksum alone guards.
    """
    import filelock  # here, because it takes as long to import as all of edgessd

    lock = filelock.FileLock(path)
    with _disk(path.parent), contextlib.suppress(NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
