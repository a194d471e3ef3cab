"""The wheel of the edgessd that is running, made from its own files: no build tool and no network.

A wheel is a zip of the package beside a folder of metadata (PyPA's binary distribution format).
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from importlib import metadata
from pathlib import Path

import edgessd
from edgessd.errors import DependencyError
from edgessd.io.files import atomic_write

WHEEL = "Wheel-Version: 1.0\nGenerator: edgessd bundle\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nedgessd = edgessd.cli.main:main\n"


def build_wheel(folder: Path) -> Path:
    """Write the wheel into `folder` and return its path. The same files make the same bytes.

    Raises DependencyError where edgessd runs from a copied folder that was never installed.
    """
    package = Path(edgessd.__file__).parent
    version = edgessd.__version__
    home = f"edgessd-{version}.dist-info"
    contents = {
        f"edgessd/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    contents[f"{home}/METADATA"] = _metadata(version).encode()
    contents[f"{home}/WHEEL"] = WHEEL.encode()
    contents[f"{home}/entry_points.txt"] = ENTRY_POINTS.encode()
    for name, data in _licenses().items():
        contents[f"{home}/licenses/{name}"] = data
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{home}/RECORD"] = f"{record}{home}/RECORD,,\n".encode()
    target = folder / f"edgessd-{version}-py3-none-any.whl"
    with atomic_write(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    return target


def distribution() -> metadata.Distribution:
    """Return the installed distribution of edgessd. Raises DependencyError where there is none."""
    try:
        return metadata.distribution("edgessd")
    except metadata.PackageNotFoundError:
        raise DependencyError(
            "edgessd is not installed here, only its folder: pip install it (or pip install -e .)"
        ) from None


def _metadata(version: str) -> str:
    found = distribution()
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    return re.sub(r"^Version: .*$", f"Version: {version}", text, count=1, flags=re.MULTILINE)


def _licenses() -> dict[str, bytes]:
    files = distribution().files or []
    return {path.name: Path(str(path.locate())).read_bytes() for path in files if path.parent.name == "licenses"}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
