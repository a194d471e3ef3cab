"""The models that can be chosen from while it runs."""

from __future__ import annotations

from pathlib import Path

from edgessd import zoo
from edgessd.errors import InputError, ModelError
from edgessd.io.files import printable
from edgessd.model_file import installed_runtimes_for

RUNTIMES = ("onnx", "litert", "openvino", "torch")
SUFFIXES = (".onnx", ".tflite", ".xml", ".safetensors")


def choices(model: str | None, folder: Path | None) -> tuple[dict[str, str], str]:
    """Return name and file (or bundled name) of each model to choose from, and the name of the first one to run.

    They are the bundled ones, `model` itself, and the model files directly in `folder`.
    """
    found = {name: name for name in zoo.bundled_models()}  # a runtime may take another file of the same name
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"--models {printable(folder)}: no such folder")
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
        found.update({path.name: str(path) for path in files})
    if model is None or model in found:
        return found, model or zoo.DEFAULT_MODEL
    file = zoo.resolve_model(model)
    found[file.name] = str(file)
    return found, file.name


def runtimes_of(model: str) -> tuple[str, ...]:
    """Return the runtimes that are installed and take this file, or one of this bundled model's files."""
    return tuple(runtime for runtime in RUNTIMES if _takes(runtime, model))


def _takes(runtime: str, model: str) -> bool:
    try:
        return runtime in installed_runtimes_for(zoo.resolve_model(model, runtime))
    except ModelError:
        return False
