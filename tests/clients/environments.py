"""An environment for each set of packages: `.venv-clients/NAME`, made once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .outcome import MissingError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-clients"


def environment(needs: Sequence[str], python: str = "") -> Path:
    """Return the folder with these packages installed; `npm:NAME@VERSION` is a package of npm, the others are pip's.

    python: the version that the packages need, such as 3.11; "" takes this one. Raises MissingError.
    """
    folder = FOLDER / re.sub(r"[^\w.]+", "-", "_".join(needs))
    if (folder / ".done").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packages = [each.removeprefix("npm:") for each in needs]
    if needs[0].startswith("npm:"):
        npm = _program("npm")
        (folder / "package.json").write_text('{"private": true}')
        _run([npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages], folder)
    else:
        _run([_python(python), "-m", "venv", "."], folder)
        pip = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--only-binary=:all:", *packages], folder)
    (folder / ".done").touch()
    return folder


def program(folder: Path) -> str:
    """Return what runs the scripts of an environment."""
    return _program("node") if (folder / "node_modules").is_dir() else str(folder / "bin" / "python")


def clean() -> None:
    """Remove all environments and model files."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def _python(version: str) -> str:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sys.executable if version in ("", here) else _program(f"python{version}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"needs {name}")
    return found


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode:
        line = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise MissingError(f"{command[0]} failed: {line[:200]}")
