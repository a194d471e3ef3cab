"""Writes the folder for Frigate: a model file for each of its detectors, the label map, and what its config gets.

Source of the contracts: Frigate's documentation (object detectors, full configuration) and its detectors `cpu`,
`openvino` and `onnx` (MIT), version 0.17.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import edgessd
from edgessd import zoo
from edgessd.errors import ModelError, OptionError, printable
from edgessd.io.files import write_part
from edgessd.io.folders import check_new, new_folder
from edgessd.model_file import read_facts, runtimes_for
from edgessd.spec import ModelSpec

FOLDER = "/config/edgessd"
"""Where Frigate's container sees the folder."""

CONFIG = """\
# {title} in Frigate's detector `{detector}`: put these lines into Frigate's config.yml, in the place of its own
# `detectors` and `model`.
detectors:
  {name}:
    type: {detector}{more}

model:
  path: {folder}/{file}
  labelmap_path: {folder}/labelmap.txt
  width: {width}
  height: {height}
  input_tensor: {tensor}
  input_pixel_format: {pixels}
  model_type: {kind}
"""

README = """\
# {title} for Frigate

Written by edgessd {version}. {classes} classes.

1. Copy this folder to `edgessd` in Frigate's configuration folder, so that the container sees it as `{folder}`.
2. Put the lines of one of these files into Frigate's `config.yml`, and restart Frigate:

| file | detector | model | works on |
|---|---|---|---|
{rows}

3. Name under `objects: track:` what you want to see. Frigate tracks `person` alone otherwise.

`labelmap.txt` has one name per line; the line's number, from 0, is the class. Do not use Frigate's own
`/labelmap.txt` with this model: it has 91 lines, with gaps, and gives the wrong names.

The model leaves out what scores below {threshold:g}, Frigate's cpu detector what is below 0.4, and Frigate takes the 20
best of a picture. Its `objects: filters:` decide what is tracked.
{missing}
Not for these files: `edgetpu` (needs a model that Google's compiler has made), `tensorrt`, `rknn`, `hailo8l`, and the
onnx detector with `model_type: ssd`, which Frigate does not support.
"""

# Frigate's own 3 lose class 3: with N threads TensorFlow Lite's suppression never returns class N (tensorflow#56058).
THREADS = "\n    num_threads: 1  # with more, TensorFlow Lite loses a class"
WORKS = {
    "cpu": ("cpu", "model.tflite", "every processor", "ssd", THREADS),
    "openvino": (
        "ov",
        "model.xml, model.bin",
        "Intel; tried on processors",
        "ssd",
        "\n    device: CPU  # or GPU",
    ),
    # Rows of final detections have this name there, whichever network they are of.
    "onnx": ("onnx", "model.onnx", "every processor, and what Frigate's image has for GPUs", "yolonas", ""),
}
"""Of each detector: its name in the config, files, where it works, model_type, more lines."""


def write_frigate(models: Sequence[str | Path | None], folder: Path) -> list[Path]:
    """Write the files for Frigate's detectors into the new folder `folder`; return them.

    models: an ONNX file (for the detectors openvino and onnx), a TFLite file (for cpu), or both of one network; a
    bundled model's name stands for both.

    It is there as a whole or not at all. Raises InputError where `folder` exists and is not empty, OptionError and
    ModelError for models that Frigate cannot run, DependencyError where a package is missing.
    """
    from edgessd.export import final

    onnx, tflite = _by_kind(models)
    check_new(folder)
    with new_folder(folder) as new:
        specs: dict[str, ModelSpec] = {}
        if tflite is not None:
            data, specs["cpu"] = final.final_tflite(tflite)
            _check(tflite, specs["cpu"])
            write_part(new / "model.tflite", data)
        if onnx is not None:
            _check(onnx, read_facts(onnx).spec(onnx))
            specs["openvino"] = final.final_openvino(onnx, new / "model.xml", "detections7")
            data, specs["onnx"] = final.final_rows(*final.final_onnx(onnx, "detections7"))
            write_part(new / "model.onnx", data)
        _check_same(list(specs.values()))
        for detector, spec in specs.items():
            write_part(new / f"config-{detector}.yml", _config(detector, spec))
        spec = next(iter(specs.values()))
        write_part(new / "labelmap.txt", label_map(spec.classes))
        write_part(new / "README.md", _readme(specs))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def label_map(classes: Sequence[str]) -> str:
    """Return Frigate's label map: the name of class i in line i, from 0.

    Frigate takes all lines as `NUMBER NAME` where the first one begins with a number; so they are then.
    """
    numbered = classes[0].split(" ", 1)[0].isdigit()
    return "".join(f"{label} {name}\n" if numbered else f"{name}\n" for label, name in enumerate(classes))


def _by_kind(models: Sequence[str | Path | None]) -> tuple[Path | None, Path | None]:
    """Return the ONNX file and the TFLite file."""
    paths = []
    for model in models:
        path = zoo.resolve_model(model)
        bundled = str(model) in zoo.bundled_models()
        paths += [path, path.with_suffix(".tflite")] if bundled else [path]
    found: dict[str, Path] = {}
    for path in paths:
        runtime = runtimes_for(path)[0]
        if runtime not in ("onnx", "litert"):
            raise ModelError(
                f"{printable(path)}: Frigate's folder is made of ONNX and TFLite files: export the checkpoint, "
                f"edgessd export CHECKPOINT -o {printable(path.with_suffix('.onnx').name)} --input uint8"
            )
        if runtime in found:
            raise OptionError("Frigate runs one model: name one ONNX file, and the TFLite file of the same network")
        found[runtime] = path
    return found.get("onnx"), found.get("litert")


def _check(path: Path, spec: ModelSpec) -> None:
    tensor = spec.input
    if tensor.dtype != "uint8":
        raise ModelError(
            f"{printable(path)} takes {tensor.dtype}, Frigate gives uint8: export it again, "
            f"edgessd export CHECKPOINT -o {printable(path.name)} --input uint8"
        )
    if tensor.resize != "stretch":
        raise ModelError(f"{printable(path)} wants pictures resized by {tensor.resize!r}, Frigate stretches them")


def _check_same(specs: Sequence[ModelSpec]) -> None:
    if any(spec.classes != specs[0].classes for spec in specs):
        raise OptionError("the ONNX and the TFLite file have different classes: name two files of one network")


def _config(detector: str, spec: ModelSpec) -> str:
    name, files, _, kind, more = WORKS[detector]
    tensor = spec.input
    return CONFIG.format(
        title=printable(spec.name),
        detector=detector,
        name=name,
        more=more,
        folder=FOLDER,
        file=files.partition(",")[0],
        width=tensor.width,
        height=tensor.height,
        tensor=tensor.layout.lower(),
        pixels=tensor.channels.lower(),
        kind=kind,
    )


def _readme(specs: dict[str, ModelSpec]) -> str:
    spec = next(iter(specs.values()))
    rows = [f"| config-{name}.yml | {name} | {WORKS[name][1]} | {WORKS[name][2]} |" for name in specs]
    kinds = {"cpu": "TFLite", "openvino": "ONNX", "onnx": "ONNX"}
    missing = [
        f"\n`config-{name}.yml` is not here: it needs a file of kind {kind}, which was not given.\n"
        for name, kind in kinds.items()
        if name not in specs
    ]
    return README.format(
        title=printable(spec.name),
        version=edgessd.__version__,
        classes=len(spec.classes),
        folder=FOLDER,
        rows="\n".join(rows),
        threshold=spec.defaults.score_threshold,
        missing="".join(missing),
    )
