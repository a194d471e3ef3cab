"""The model files that the clients get: `edgessd-coco` as it comes with the package, and its float network.

    int8-LEVEL.onnx, .tflite   the bundled files, brought to the level by edgessd's own functions
    int8-LEVEL.xml             the same graph as OpenVINO IR
    float-LEVEL.SUFFIX         `export_model` of TensorFlow's weights in ../shared/weights
    float-LEVEL-uint8.tflite   the same, with the picture's bytes as input
    int8-frigate.onnx          `edgessd bundle --target frigate`'s file for Frigate's onnx detector

LEVEL may be a layout, such as `detections7`, which has its own.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import msgspec

from edgessd import zoo
from edgessd.export.final import final_onnx, final_rows
from edgessd.model_file import read_spec
from edgessd.spec import LAYOUTS, OutputSpec

from .environments import FOLDER, ROOT
from .outcome import MissingError

WEIGHTS = ROOT.parent / "shared" / "weights" / "ssdlite_mobilenet_v2_coco.safetensors"


# Files without a spec, which edgessd does not run, and the ones of the same graph that it is asked for.
SAME_GRAPH = {"int8-frigate.onnx": "int8-nms.onnx"}


def folder() -> Path:
    """Return the folder of the files, another one after every change of what makes them."""
    parts = ("export", "models", "spec.py", "zoo/models")
    places = [ROOT / "edgessd" / part for part in parts]
    sources = [file for place in places for file in (sorted(place.rglob("*.*")) if place.is_dir() else [place])]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources if file.suffix != ".pyc"))
    made = FOLDER / f"files-{digest.hexdigest()[:12]}"
    made.mkdir(parents=True, exist_ok=True)
    return made


def make(name: str) -> Path:
    """Return the path of the file of that name, made if it is not there. Raises MissingError."""
    path = folder() / name
    if not path.exists():
        precision, level, *tensor = path.stem.split("-")
        if precision == "float":
            _float(path, level, *tensor)
        elif path.suffix == ".tflite":
            _int8_tflite(path, level)
        else:
            _int8_onnx(path, level)
    return path


def _output(level: Any) -> OutputSpec:
    return OutputSpec(LAYOUTS[level].level, layout=level) if level in LAYOUTS else OutputSpec(level)


def _float(path: Path, level: str, *tensor: str) -> None:
    if not WEIGHTS.exists():
        raise MissingError("float files need TensorFlow's weights beside the project (../shared)")
    from edgessd.export.formats import export_model
    from edgessd.models.weights import tensorflow_ssdlite

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"layout": level} if level in LAYOUTS else {"level": level}
        export_model(tensorflow_ssdlite(WEIGHTS), path, tensor=tensor[0] if tensor else None, **options)


def _int8_onnx(path: Path, level: str) -> None:
    import onnx

    from edgessd.export import onnx_file, onnx_layouts, openvino_file

    source = zoo.bundled_models()[zoo.DEFAULT_MODEL].with_suffix(".onnx")
    if level == "frigate":
        path.write_bytes(final_rows(*final_onnx(source, "detections7"))[0])
        return
    spec, proto = read_spec(source), onnx.load(source)
    spec = onnx_layouts.raise_to(proto, spec, _output(level))
    onnx_file.describe(proto, spec)
    if path.suffix == ".xml":
        openvino_file.write_openvino(proto, spec, path)
    else:
        path.write_bytes(proto.SerializeToString())


def _int8_tflite(path: Path, level: str) -> None:
    from edgessd.export import tflite_file

    source = zoo.bundled_models()[zoo.DEFAULT_MODEL].with_suffix(".tflite")
    spec, data = read_spec(source), source.read_bytes()
    append = {"decoded": tflite_file.append_decoding, "nms": tflite_file.append_detection_postprocess}
    if level in append:
        data = append[level](data, spec)
    spec = msgspec.structs.replace(spec, output=_output(level))
    path.write_bytes(tflite_file.add_phone_metadata(tflite_file.describe(data, spec), spec))
