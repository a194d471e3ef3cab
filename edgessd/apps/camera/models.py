"""The models that can be chosen from while it runs."""

from __future__ import annotations

from pathlib import Path

from edgessd import zoo
from edgessd.errors import InputError
from edgessd.io.files import printable

SUFFIXES = (".onnx", ".tflite", ".xml", ".safetensors")


def choices(model: str | None, folder: Path | None) -> tuple[dict[str, str], str]:
    """Return name and file of each model to choose from, and the name of the first one to run.

    They are the bundled ones, `model` itself, and the model files directly in `folder`.
    """
    found = {name: str(path) for name, path in zoo.bundled_models().items()}
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"--models {printable(folder)}: no such folder")
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
        found.update({path.name: str(path) for path in files})
    first = str(zoo.resolve_model(model))
    name = next((name for name, file in found.items() if file == first), None)
    if name is None:
        name = Path(first).name
        found[name] = first
    return found, name
