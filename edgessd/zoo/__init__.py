"""The models and photos that come with the package."""

from __future__ import annotations

from pathlib import Path

from edgessd.errors import ModelError, did_you_mean
from edgessd.io.local import local_path

_HERE = Path(__file__).parent
DEFAULT_MODEL = "edgessd-coco"
# Runtimes that take the TFLite file of a bundled model.
_TFLITE = ("litert", "tflite")


def bundled_models() -> dict[str, Path]:
    """Return name and ONNX file of every bundled model; a TFLite file of the same name lies beside it."""
    return {path.stem: path for path in sorted((_HERE / "models").glob("*.onnx"))}


def photos() -> list[Path]:
    """Return the bundled photos (their licences stand in NOTICE)."""
    return sorted(path for path in (_HERE / "photos").iterdir() if path.suffix in (".jpg", ".png"))


def resolve_model(model: str | Path | None = None, runtime: str | None = None) -> Path:
    """Return the file of a bundled model's name or of a path; None is the default model.

    A name gives the ONNX file, and the TFLite file where `runtime` is LiteRT's or the name ends in `.tflite`.
    """
    bundled = bundled_models()
    name = str(model) if model is not None else DEFAULT_MODEL
    if name in bundled:
        file = bundled[name]
        return file.with_suffix(".tflite") if runtime in _TFLITE else file
    path = Path(local_path(name))
    if path.exists():
        return path
    inside = _HERE / "models" / path.name
    if str(path) == path.name and path.stem in bundled and inside.exists():
        return inside
    if path.suffix:
        return path  # a missing file gets its error where it is opened
    raise ModelError(f"no model {name!r}{did_you_mean(name, bundled)}: give a file, or one of {', '.join(bundled)}")
