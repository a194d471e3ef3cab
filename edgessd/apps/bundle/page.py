"""Writes the static page that runs a model in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import edgessd
from edgessd.apps.bundle import npm
from edgessd.errors import ModelError, OptionError, printable
from edgessd.io.files import write_part
from edgessd.io.folders import check_new, new_folder
from edgessd.model_file import runtimes_for
from edgessd.ops.preprocess import value_table
from edgessd.spec import InputSpec, ModelSpec
from edgessd.zoo import resolve_model

STATIC = Path(__file__).parent / "web"
SHARED = ("page.js", "preprocess.js", "file.js", "style.css")
OTHER = {"index.html": "onnxruntime-web", "mediapipe.html": "MediaPipe"}

README = """\
# {title}: an object detector in the browser

    python -m http.server            # in this folder, then open http://localhost:8000

Any web server will do, and nothing is loaded from elsewhere. Browsers give their camera only to localhost and https.
Written by edgessd {version}.

| page | model | model's licence | runtime | runtime's licence |
|---|---|---|---|---|
{rows}
"""


def write_page(
    models: Sequence[str | Path | None], folder: Path, *, ort: Path | None = None, mediapipe: Path | None = None
) -> list[Path]:
    """Write a page over onnxruntime-web into the new folder `folder`; return its files.

    models: an ONNX file or a bundled model's name; a TFLite file beside it adds a page over MediaPipe. Files of a
    lower level than `nms` get the rest of the postprocessing into their graph.
    ort, mediapipe: tarball or folder of onnxruntime-web and @mediapipe/tasks-vision; None fetches them.

    It is there as a whole or not at all. Raises InputError where `folder` exists and is not empty, OptionError and
    ModelError for models that no page can be made of, DownloadError, DependencyError.
    """
    from edgessd.export import final

    onnx, tflite = _by_kind(models)
    if mediapipe is not None and tflite is None:
        raise OptionError("--mediapipe is for a TFLite model: name one beside the ONNX model")
    check_new(folder)
    data, spec = final.final_onnx(onnx)
    _check_input(onnx, spec)
    second = None
    if tflite is not None:
        second = final.final_tflite(tflite)
        _check_input(tflite, second[1], channels="RGB")
    with new_folder(folder) as new:
        _page(new, "index.html", "onnx.js", "model.onnx", data, spec, both=second is not None)
        version = npm.place(npm.ONNXRUNTIME, new / "ort", ort)
        rows = [_row("index.html", "model.onnx", spec, npm.ONNXRUNTIME, version)]
        if second is not None:
            _page(new, "mediapipe.html", "mediapipe.js", "model.tflite", *second, both=True)
            version = npm.place(npm.MEDIAPIPE, new / "mediapipe", mediapipe)
            rows.append(_row("mediapipe.html", "model.tflite", second[1], npm.MEDIAPIPE, version))
        for name in SHARED:
            write_part(new / name, (STATIC / name).read_bytes())
        text = README.format(title=spec.name, version=edgessd.__version__, rows="\n".join(rows))
        write_part(new / "README.md", text)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _by_kind(models: Sequence[str | Path | None]) -> tuple[Path, Path | None]:
    """Return the ONNX file and the TFLite file, if there is one."""
    found: dict[str, Path] = {}
    for model in models:
        path = resolve_model(model)
        runtime = runtimes_for(path)[0]
        if runtime not in ("onnx", "litert"):
            raise ModelError(
                f"{printable(path)} runs in no browser: export it first, "
                f"edgessd export CHECKPOINT -o {printable(path.with_suffix('.onnx').name)} --level nms"
            )
        if runtime in found:
            raise OptionError("a page has one ONNX model, and one TFLite model beside it: bundle each into its folder")
        found[runtime] = path
    if "onnx" not in found:
        raise OptionError("the page needs an ONNX model; a TFLite model beside it adds the page over MediaPipe")
    return found["onnx"], found.get("litert")


def _check_input(path: Path, spec: ModelSpec, channels: str | None = None) -> None:
    tensor = spec.input
    if tensor.interpolation != "linear":
        raise ModelError(f"{printable(path)} wants its pictures resized by {tensor.interpolation!r}, not 'linear'")
    if channels is not None and tensor.channels != channels:
        raise ModelError(f"{printable(path)} takes {tensor.channels} pictures, MediaPipe gives {channels}")


def _page(folder: Path, page: str, script: str, file: str, data: bytes, spec: ModelSpec, *, both: bool) -> None:
    """Write a page, its script, its model and the model's description."""
    html = (STATIC / "index.html").read_text(encoding="utf-8").replace("PAGE.js", script)
    write_part(folder / page, html)
    write_part(folder / script, (STATIC / script).read_bytes())
    write_part(folder / file, data)
    other = next(name for name in OTHER if name != page) if both else None
    described = describe(spec, file, len(data), None if other is None else (other, OTHER[other]))
    write_part(folder / f"{Path(page).stem.replace('index', 'model')}.json", msgspec.json.encode(described))


def describe(spec: ModelSpec, file: str, size: int, other: tuple[str, str] | None) -> dict[str, Any]:
    """Return what a page has to know about a model of level `nms`, from its checked spec.

    A page reads this and not the spec inside the file, which would need a parser of protobuf in JavaScript, and
    so preprocessing takes its values from the very table that the package uses.
    """
    return {
        "title": spec.name,
        "file": file,
        "megabytes": size / 1e6,
        "precision": spec.precision,
        "classes": spec.classes,
        "score_threshold": spec.defaults.score_threshold,
        "outputs": spec.output.names,
        "input": input_facts(spec.input),
        "other": other,
    }


def input_facts(spec: InputSpec) -> dict[str, Any]:
    """Return what a page has to know of the input: see preprocess.js."""
    table = value_table(spec)
    return {
        "shape": (1, *spec.tensor_shape),
        "width": spec.width,
        "height": spec.height,
        "channels": spec.channels,
        "layout": spec.layout,
        "dtype": spec.dtype,
        "resize": spec.resize,
        "pad_value": spec.pad_value,
        "table": None if table is None else table.tolist(),
    }


def _row(page: str, model: str, spec: ModelSpec, package: npm.Package, version: str) -> str:
    license = spec.provenance.license.replace("|", "/") or "see its makers"
    return f"| {page} | {model} | {license} | [{package.name}]({package.home}) {version} | {package.license} |"
