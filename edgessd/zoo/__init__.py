"""The models and photos that come with the package."""

from __future__ import annotations

from pathlib import Path

from edgessd.errors import ModelError, did_you_mean

_HERE = Path(__file__).parent
DEFAULT_MODEL = "ssdlite300_mobilenet_v2"


def bundled_models() -> dict[str, Path]:
    """Return name and file of every bundled model."""
    return {path.stem: path for path in sorted((_HERE / "models").glob("*.onnx"))}


def photos() -> list[Path]:
    """Return the bundled photos (their licences stand in NOTICE)."""
    return sorted(path for path in (_HERE / "photos").iterdir() if path.suffix in (".jpg", ".png"))


def resolve_model(model: str | Path | None = None) -> Path:
    """Return the file of a bundled model's name or of a path; None is the default model."""
    bundled = bundled_models()
    name = str(model) if model is not None else DEFAULT_MODEL
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.exists() or path.suffix:
        return path  # a missing file gets its error where it is opened
    raise ModelError(f"no model {name!r}{did_you_mean(name, bundled)}: give a file, or one of {', '.join(bundled)}")
