"""OpenCV's cv2.dnn with its default engine; levels decoded and nms."""

import cv2
from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    network = cv2.dnn.readNetFromONNX(model)
    names = facts["output"]["names"]

    def detect(picture):
        network.setInput(tensor_of(picture, facts))
        found = dict(zip(names, network.forward(names), strict=True))
        if "labels" in found:
            return scaled(*(found[name][0].reshape(-1) for name in ("labels", "scores")), found["boxes"][0], picture)
        return suppressed(found["scores"][0], found["boxes"][0], facts, picture)

    return detect


run(load)
