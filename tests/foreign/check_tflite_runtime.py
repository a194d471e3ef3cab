"""Does tflite-runtime 2.14 give the outputs that ai-edge-litert gives? Needs tflite-runtime and numpy < 2.

Float outputs may differ by 1e-4, integer ones by one step. With `--level nms`, the file's detections must be those
that edgessd made of the raw outputs: same class, score within 1e-4, corners within 1e-4 of the picture's sides.
"""

import argparse
import sys

import numpy as np
from tflite_runtime.interpreter import Interpreter


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("expected")
    parser.add_argument("--level", choices=["raw", "nms"], default="raw")
    options = parser.parse_args()
    expected = np.load(options.expected)
    engine = Interpreter(model_path=options.model, num_threads=1)
    engine.allocate_tensors()
    (image,) = engine.get_input_details()
    details = {detail["name"]: detail for detail in engine.get_output_details()}

    def run(tensor):
        engine.set_tensor(image["index"], tensor[None])
        engine.invoke()
        return {name: engine.get_tensor(detail["index"])[0] for name, detail in details.items()}

    inputs = expected["inputs"]
    if options.level == "nms":
        return 0 if same_detections(run, inputs, expected) else 1
    worst = {}
    for index, tensor in enumerate(inputs):
        for name, values in run(tensor).items():
            other = expected[name][index]
            assert values.dtype == other.dtype, (name, values.dtype, other.dtype)
            worst[name] = max(worst.get(name, 0), float(np.abs(values.astype(np.float64) - other).max()))
    print(f"{len(inputs)} pictures, largest differences {worst}")
    limits = {name: 1e-4 if detail["dtype"] == np.float32 else 1 for name, detail in details.items()}
    return 0 if all(worst[name] <= limits[name] for name in worst) else 1


def same_detections(run, inputs, expected) -> bool:
    total = agree = extra = 0
    sizes = expected["sizes"]
    for tensor, rows, (width, height) in zip(inputs, expected["found"], sizes, strict=True):
        out = run(tensor)
        count = int(out["count"])
        found = np.concatenate([out["labels"][:count, None], out["scores"][:count, None], out["boxes"][:count]], axis=1)
        scale = np.array([height, width, height, width])
        rows = rows[rows[:, 0] >= 0]
        total, extra = total + len(rows), extra + max(count - len(rows), 0)
        for row in rows:
            box = row[[3, 2, 5, 4]] / scale
            near = (found[:, 0] == row[0]) & (np.abs(found[:, 1] - row[1]) < 1e-4)
            agree += bool((near & (np.abs(found[:, 2:] - box).max(axis=1) < 1e-4)).any())
    print(f"{len(inputs)} pictures: {agree} of {total} detections agree, {extra} more")
    return agree == total and not extra


if __name__ == "__main__":
    sys.exit(main())
