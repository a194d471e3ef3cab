"""MediaPipe Tasks' ObjectDetector: its own resize, names from the file."""

import cv2
import mediapipe
from common import run
from mediapipe.tasks.python import BaseOptions, vision


def load(model, facts):
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=model))
    detector = vision.ObjectDetector.create_from_options(options)

    def detect(picture):
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        rows = []
        for found in detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)).detections:
            box = found.bounding_box
            corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
            # Boxes that are equal to the last digit are one detection of several categories there.
            rows += [[category.category_name, category.score, *corners] for category in found.categories]
        return rows

    return detect


run(load)
