"""What the recipes share: links to pictures, the files with their figures inside, tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgessd.apps.benchmark.tables import markdown_table
from edgessd.export import export_model
from edgessd.export.checked import export_checked
from edgessd.io.files import write_text_atomic
from edgessd.quantization import load_quantized, save_quantized


def linked(pictures: Iterable[Path], folder: Path) -> Path:
    """Return `folder`, with links to these pictures in it."""
    folder.mkdir(exist_ok=True)
    for picture in pictures:
        link = folder / picture.name
        if not link.exists():
            link.symlink_to(picture.resolve())
    return folder


def int8_files(
    checkpoint: Path,
    folder: Path,
    name: str,
    prefix: str,
    accuracy: Callable[[Path], Mapping[str, float]],
    extra: Callable[[Path], Mapping[str, float]] = lambda file: {},
    **terms: str,
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write NAME.onnx and NAME.tflite of a quantised checkpoint, verified; return them and a row of figures for each.

    The accuracy of the ONNX file stands in the spec of both, as prefix/KEY. extra: more columns of the rows, which
    the spec does not get. terms: more of the provenance, such as license.
    """
    files = [folder / f"{name}{suffix}" for suffix in (".onnx", ".tflite")]
    export_model(checkpoint, files[0])  # once to measure, then both with the figures inside
    network = load_quantized(checkpoint)
    metrics = {f"{prefix}/{key}": value for key, value in accuracy(files[0]).items()}
    origin = msgspec.structs.replace(network.spec.provenance, metrics=metrics, **terms)
    network.spec = msgspec.structs.replace(network.spec, name=name, provenance=origin)
    described = folder / "int8.safetensors"
    save_quantized(described, network)
    rows = []
    for file in files:
        report = export_checked(described, file)
        assert report is not None
        row = {"file": file.name, "MB": round(report.megabytes, 2), **accuracy(file), **extra(file)}
        rows.append({**row, "integer_share": report.integer_share})
    return files, rows


def write_table(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table, and write it as NAME.json and NAME.md."""
    text = markdown_table(rows)
    write_text_atomic(folder / f"{name}.json", json.dumps(rows, indent=1) + "\n")
    write_text_atomic(folder / f"{name}.md", text + "\n")
    print(text, flush=True)
