"""OpenCV's cv2.dnn_DetectionModel on a file of layout opencv, with nothing set."""

import cv2
from common import run


def load(model, facts):
    detector = cv2.dnn_DetectionModel(model)

    def detect(picture):
        found = detector.detect(picture, facts["defaults"]["score_threshold"])
        rows = zip(*found, strict=True)
        return [[int(label), score, x, y, x + width, y + height] for label, score, (x, y, width, height) in rows]

    return detect


run(load)
