"""MediaPipe Tasks' ObjectDetector: names from the file; its own resize, or with `resized` OpenCV's before it."""

import sys

import mediapipe
from common import bytes_of, run
from mediapipe.tasks.python import BaseOptions, vision


def load(model, facts):
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=model))
    detector = vision.ObjectDetector.create_from_options(options)

    def detect(picture):
        size = (facts["input"]["width"], facts["input"]["height"]) if RESIZED else picture.shape[1::-1]
        rgb = bytes_of(picture, *size)
        x, y = picture.shape[1] / size[0], picture.shape[0] / size[1]
        rows = []
        for found in detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)).detections:
            box = found.bounding_box
            left, top = box.origin_x, box.origin_y
            corners = [left * x, top * y, (left + box.width) * x, (top + box.height) * y]
            # Boxes that are equal to the last digit are one detection of several categories there.
            rows += [[category.category_name, category.score, *corners] for category in found.categories]
        return rows

    return detect


RESIZED = sys.argv[1] == "resized"
if RESIZED:
    sys.argv.pop(1)
run(load)
