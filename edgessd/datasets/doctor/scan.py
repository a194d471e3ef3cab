"""Decode every picture once: its size, a digest of its pixels, or why it cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgessd.errors import InputError
from edgessd.io.images import load_image


@dataclass(frozen=True)
class Scan:
    """One picture: (width, height) in pixels and a digest of its pixels, or the error that reading it gave."""

    size: tuple[int, int] | None
    digest: str
    error: str = ""


def scan_picture(path: Path) -> Scan:
    """Decode one picture."""
    try:
        image = load_image(path)
    except InputError as error:
        return Scan(None, "", str(error))
    height, width = image.shape[:2]
    return Scan((width, height), hashlib.sha256(f"{width}x{height}".encode() + image.tobytes()).hexdigest())


def scan_pictures(
    paths: Iterable[Path], *, threads: int | None = None, progress: Callable[[int, int], None] | None = None
) -> dict[Path, Scan]:
    """Decode all pictures, several at once. progress: called with (done, all) after each."""
    every = list(dict.fromkeys(paths))
    result: dict[Path, Scan] = {}
    with ThreadPoolExecutor(threads) as pool:
        for done, (path, scan) in enumerate(zip(every, pool.map(scan_picture, every), strict=True), 1):
            result[path] = scan
            if progress is not None:
                progress(done, len(every))
    return result
