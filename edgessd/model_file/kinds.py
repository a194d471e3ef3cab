"""Kinds of model files, told by their content and never by their name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from edgessd.errors import ModelError, printable

FILE_KINDS = {
    "onnx": "an ONNX file",
    "tflite": "a TFLite file",
    "openvino": "an OpenVINO file (.xml)",
    "torch": "a safetensors checkpoint",
}
ENGINES = {"onnx": ("onnx", "openvino"), "tflite": ("litert",), "openvino": ("openvino",), "torch": ("torch",)}
"""Names of the runtimes that load each kind of file, the usual one first."""
PACKAGES = {
    "onnx": ("onnxruntime",),
    "litert": ("ai_edge_litert", "tflite_runtime", "tensorflow"),
    "openvino": ("openvino",),
    "torch": ("torch",),
}
"""Packages of which each runtime needs one."""


def file_kind(path: Path) -> str:
    """Return the key of `FILE_KINDS` for a file, from its first bytes. Raises ModelError for anything else."""
    name = printable(path)
    try:
        with path.open("rb") as file:
            head = file.read(256)
        size = path.stat().st_size
    except IsADirectoryError:
        raise ModelError(f"{name} is a folder, not a model file") from None
    except FileNotFoundError:
        raise ModelError(f"no model file {name}: `edgessd models` lists the bundled ones") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ModelError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not size:
        raise ModelError(f"{name} is empty: copy or export the model again")
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "torch"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<?xml", b"<net")):
        return "openvino"
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise ModelError(f"{name} is a pickled checkpoint, which could run code when opened: use safetensors or ONNX")
    if head[:1] == b"\x08":  # field 1 (ir_version) of an ONNX ModelProto
        return "onnx"
    raise ModelError(f"{name} is not a model file that edgessd knows (ONNX, TFLite, OpenVINO .xml or safetensors)")


def runtimes_for(path: str | Path) -> tuple[str, ...]:
    """Return the runtimes that load this kind of file, the usual one first. Raises ModelError."""
    return ENGINES[file_kind(Path(path))]


def installed_runtimes_for(path: str | Path) -> tuple[str, ...]:
    """Return those of `runtimes_for` whose package is installed. Raises ModelError."""
    return tuple(name for name in runtimes_for(path) if any(find_spec(package) for package in PACKAGES[name]))
