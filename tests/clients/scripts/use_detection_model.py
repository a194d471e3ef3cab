"""OpenCV's cv2.dnn_DetectionModel, which resizes, normalises and reads the rows of layout detections7; float files."""

import cv2
from common import run


def load(model, facts):
    tensor = facts["input"]
    detector = cv2.dnn_DetectionModel(cv2.dnn.readNetFromONNX(model))
    detector.setInputParams(
        scale=1 / tensor["scale"][0],
        size=(tensor["width"], tensor["height"]),
        mean=tensor["mean"],
        swapRB=tensor["channels"] == "RGB",
    )

    def detect(picture):
        labels, scores, boxes = detector.detect(picture, confThreshold=facts["defaults"]["score_threshold"])
        rows = zip(labels, scores, boxes, strict=True)
        return [[int(label), score, x, y, x + width, y + height] for label, score, (x, y, width, height) in rows]

    return detect


run(load)
