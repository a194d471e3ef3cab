"""OpenVINO's own runtime, default options; levels decoded and nms."""

import openvino
from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    compiled = openvino.Core().compile_model(model, "CPU")

    def detect(picture):
        answer = compiled([tensor_of(picture, facts)])
        found = {name: answer[name][0] for name in facts["output"]["names"]}
        if "labels" in found:
            return scaled(found["labels"], found["scores"], found["boxes"], picture)
        return suppressed(found["scores"], found["boxes"], facts, picture)

    return detect


run(load)
