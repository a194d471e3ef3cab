"""onnxruntime with default options; levels decoded and nms."""

import onnxruntime
from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def detect(picture):
        answer = session.run(None, {image: tensor_of(picture, facts)})
        found = {name: values[0] for name, values in zip(names, answer, strict=True)}
        if "labels" in found:
            return scaled(found["labels"], found["scores"], found["boxes"], picture)
        return suppressed(found["scores"], found["boxes"], facts, picture)

    return detect


run(load)
