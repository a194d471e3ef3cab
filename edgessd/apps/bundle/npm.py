"""The browsers' runtimes: packages of the npm registry, without npm.

An npm package is a gzipped tar file whose names begin with `package/`.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgessd.errors import InputError, printable
from edgessd.io.files import write_part
from edgessd.zoo.download import fetch

REGISTRY = "https://registry.npmjs.org"
REGISTRY_VARIABLE = "EDGESSD_NPM_REGISTRY"
MAX_FILE = 100 * 2**20
"""Bytes of the largest file that is taken out of a package."""


@dataclass(frozen=True)
class Package:
    """A package at one version, and the files that a page needs of it."""

    name: str
    version: str
    sha256: str
    license: str
    home: str
    files: tuple[str, ...]

    @property
    def url(self) -> str:
        """Address of the package in the registry, or in the one that $EDGESSD_NPM_REGISTRY names."""
        base = os.environ.get(REGISTRY_VARIABLE, "") or REGISTRY
        return f"{base.rstrip('/')}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


ONNXRUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    "MIT",
    "https://github.com/microsoft/onnxruntime",
    (
        "dist/ort.wasm.min.mjs",
        "dist/ort-wasm-simd-threaded.mjs",
        "dist/ort-wasm-simd-threaded.wasm",
        "dist/ort.webgpu.min.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm",
    ),
)
MEDIAPIPE = Package(
    "@mediapipe/tasks-vision",
    "1.1.0",
    "46fc3d3d13fa5de631915929d045be2f74bb32e909d7a5b3a322b28976f54165",
    "Apache-2.0",
    "https://github.com/google-ai-edge/mediapipe",
    ("vision_bundle.mjs", "wasm/vision_wasm_internal.js", "wasm/vision_wasm_internal.wasm"),
)


def place(package: Package, folder: Path, source: Path | None = None) -> str:
    """Put the files of a package into the new folder `folder`, side by side, and return its version.

    source: a tarball as of `npm pack`, or an unpacked package such as `node_modules/NAME`; None fetches the pinned
    version from the registry into edgessd's cache, checked by its SHA-256. Raises DownloadError, and InputError
    where `source` is not that package.
    """
    path = source if source is not None else _fetch(package)
    try:
        found = _read_folder(path, package.files) if path.is_dir() else _read_archive(path, package.files)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(f"{printable(path)} is no package of npm: {_reason(error)}: {_way_out(package)}") from None
    missing = [name for name in package.files if name not in found]
    if missing:
        raise InputError(f"{printable(path)} has no {missing[0]}: {_way_out(package)}")
    folder.mkdir()
    for name in package.files:
        write_part(folder / name.rpartition("/")[2], found[name])
    return _version(found.get("package.json", b""))


def _fetch(package: Package) -> Path:
    name = f"{package.name.replace('@', '').replace('/', '-')}-{package.version}.tgz"  # as `npm pack` names it
    return fetch(package.url, package.sha256, name)


def _way_out(package: Package) -> str:
    return f"give the file that `npm pack {package.name}@{package.version}` writes, or the unpacked package"


def _read_folder(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*names, "package.json") if (folder / name).is_file()}


def _read_archive(file: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read only the wanted members, and only plain files: nothing of the archive chooses where it is written."""
    wanted = {f"package/{name}": name for name in (*names, "package.json")}
    found = {}
    with tarfile.open(file, "r:*") as archive:
        for member in archive:
            name = wanted.get(member.name)
            if name is None or not member.isreg() or member.size > MAX_FILE:
                continue
            content = archive.extractfile(member)
            assert content is not None
            found[name] = content.read()
    return found


def _version(text: bytes) -> str:
    class Head(msgspec.Struct):
        version: str

    try:
        return printable(msgspec.json.decode(text, type=Head).version, 40)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "of unknown version"


def _reason(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or error or type(error).__name__)
