"""What Frigate's detector plug-ins `cpu`, `openvino` and `onnx` expect of a model, written from their contracts.

A plug-in answers a picture with at most 20 rows (class, score, y1, x1, y2, x2), corners as shares, filled up with
zeros; Frigate ends them at the first score below 0.4. Frigate gives the picture's bytes as its configuration says
(`input_tensor`: nhwc or nchw, `input_pixel_format`: rgb here). Source: Frigate 0.16, frigate/detectors/plugins.

    cpu       tflite-runtime; outputs by place: boxes, classes, scores, count
    openvino  model_type ssd: one input [1, W, H, 3], one output [1, 1, K, 7], both static: rows (image, class, score,
              x1, y1, x2, y2), corners as shares
    onnx      no model_type ssd; yolonas: one output [K, 7], rows (image, x1, y1, x2, y2, score, class), corners in
              pixels of the input, a negative class ends them
"""

import sys
from functools import partial

import numpy as np
from common import bytes_of, run, scaled

ROWS, THRESHOLD = 20, 0.4


def of_places(boxes, classes, scores, count):
    """Plug-in cpu: [K, 4], [K], [K] and a number -> rows."""
    rows = [[label, score, *box] for label, score, box in zip(classes, scores, boxes, strict=True)][: int(count)]
    return [row for row in rows[:ROWS] if row[1] >= THRESHOLD]


def of_detections7(rows):
    """Plug-in openvino: [K, 7] -> rows."""
    return [[label, score, y1, x1, y2, x2] for _, label, score, x1, y1, x2, y2 in rows[:ROWS]]


def of_yolonas(rows, width, height):
    """Plug-in onnx: [K, 7] -> rows."""
    found = []
    for _, x1, y1, x2, y2, score, label in rows[:ROWS]:
        if label < 0:
            break
        found.append([label, score, y1 / height, x1 / width, y2 / height, x2 / width])
    return found


def load_cpu(model, threads=3):
    from tflite_runtime.interpreter import Interpreter

    engine = Interpreter(model_path=model, num_threads=threads)
    engine.allocate_tensors()
    image, outputs = engine.get_input_details()[0], engine.get_output_details()

    def answer(tensor):
        engine.set_tensor(image["index"], tensor)
        engine.invoke()
        boxes, classes, scores, count = (engine.get_tensor(each["index"])[0] for each in outputs)
        return of_places(boxes, classes, scores, count)

    return tuple(image["shape"][1:3][::-1]), answer


def load_openvino(model):
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU")
    if len(compiled.inputs) != 1 or len(compiled.outputs) != 1:
        raise ValueError(f"SSD models have one input and one output, not {len(compiled.outputs)}")
    shape, rows = list(compiled.inputs[0].shape), list(compiled.outputs[0].shape)
    if shape[0] != 1 or shape[3] != 3:
        raise ValueError(f"the input is [1, W, H, 3], not {shape}")
    if rows[:2] != [1, 1] or rows[3] != 7:
        raise ValueError(f"the output is [1, 1, K, 7], not {rows}")
    return (shape[1], shape[2]), lambda tensor: of_detections7(compiled(tensor)[0][0, 0])


def load_onnx(model):
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    image = session.get_inputs()[0]
    nhwc = image.shape[3] == 3  # the configuration's input_tensor
    height, width = image.shape[1:3] if nhwc else image.shape[2:]

    def answer(tensor):
        rows = session.run(None, {image.name: tensor if nhwc else tensor.transpose(0, 3, 1, 2)})[0]
        if rows.ndim != 2 or rows.shape[1] != 7:
            raise ValueError(f"the first output is [K, 7], not {list(rows.shape)}")
        return of_yolonas(rows, width, height)

    return (width, height), answer


PLUGINS = {
    "cpu": load_cpu,
    "cpu-one-thread": partial(load_cpu, threads=1),
    "openvino": load_openvino,
    "onnx": load_onnx,
}


def load(model, facts):
    (width, height), answer = PLUGINS[PLUGIN](model)

    def detect(picture):
        rows = np.reshape(answer(bytes_of(picture, width, height)[None]), (-1, 6))
        below = np.flatnonzero(rows[:, 1] < THRESHOLD)
        rows = rows[: below[0]] if below.size else rows
        return scaled(rows[:, 0], rows[:, 1], rows[:, [3, 2, 5, 4]], picture)

    return detect


if __name__ == "__main__":
    PLUGIN = sys.argv.pop(1)
    run(load)
