"""Write what a raw-level TFLite file answers to some pictures, and what edgessd makes of it.

For every picture: its path, the input tensor, the outputs as the file gives them, and the detections.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgessd.io.images import load_image
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.spec import METADATA_KEY, InputSpec, ModelSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="pictures or folders of them")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--resize", choices=["edgessd", "mediapipe"], default="edgessd")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    engine = Interpreter(model_path=str(options.model), num_threads=1)
    engine.allocate_tensors()
    spec = spec_of(options.model.read_bytes())
    (image,) = engine.get_input_details()
    outputs = {detail["name"]: detail for detail in engine.get_output_details()}
    table: dict[str, list[object]] = {key: [] for key in ("paths", "inputs", "logits", "offsets", "found", "sizes")}
    for path in list_pictures(options.pictures)[: options.limit]:
        picture = load_image(path)
        seen = mediapipe_resize(picture, spec.input) if options.resize == "mediapipe" else picture
        tensor = preprocess(seen, spec.input)
        engine.set_tensor(image["index"], tensor[None])
        engine.invoke()
        raw = [engine.get_tensor(outputs[name]["index"]) for name in spec.output.names]
        floats = RawOutputs(*(to_float(values, outputs[n]) for values, n in zip(raw, spec.output.names, strict=True)))
        found = postprocess(floats, spec, (picture.shape[1], picture.shape[0]))
        rows = np.concatenate([found.labels[:, None], found.scores[:, None], found.boxes], axis=1)
        padded = np.full((spec.defaults.max_detections, 6), -1, np.float32)
        padded[: len(rows)] = rows
        for key, value in zip(
            table, (str(path.resolve()), tensor, *(r[0] for r in raw), padded, picture.shape[1::-1]), strict=True
        ):
            table[key].append(value)
    arrays = {key: np.array(values) for key, values in table.items()}
    threshold = spec.defaults.score_threshold
    np.savez(options.output, **arrays, classes=np.array(spec.classes), score_threshold=np.array(threshold))
    print(f"{len(table['paths'])} pictures, {sum(int((f[:, 0] >= 0).sum()) for f in table['found'])} detections")


def spec_of(data: bytes) -> ModelSpec:
    """The spec inside a TFLite file."""
    from edgessd.export.tflite_file.editor import Editor, text

    editor = Editor(data)
    buffers = {text(entry.name): editor.model.buffers[entry.buffer] for entry in editor.model.metadata}
    return ModelSpec.from_json(bytes(buffers[METADATA_KEY].data))


def list_pictures(places: list[Path]) -> list[Path]:
    found = [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return [file for file in found if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]


def mediapipe_resize(picture: np.ndarray, spec: InputSpec) -> np.ndarray:
    """What MediaPipe 1.2 does on the CPU (image_to_tensor_converter_opencv.cc): a warp from corner to corner.

    Pixel (0, 0) comes from pixel (0, 0), while cv2.resize keeps the outer corners in place: the content lies up to
    half a pixel further to the right and below. Coordinates are rounded to 1/32 pixel, as OpenCV 4 does.
    """
    height, width = picture.shape[:2]
    x = (np.arange(spec.width, dtype=np.float32) * (width / spec.width))[None].repeat(spec.height, 0)
    y = (np.arange(spec.height, dtype=np.float32) * (height / spec.height))[:, None].repeat(spec.width, 1)
    whole, parts = cv2.convertMaps(x, y, cv2.CV_16SC2)
    return cv2.remap(picture, whole, parts, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def to_float(values: np.ndarray, detail: dict) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    scale, zero_point = detail["quantization"]
    return ((values.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)


if __name__ == "__main__":
    main()
