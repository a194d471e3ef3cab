"""The task library of tflite-support: its own resize, names from the file."""

import cv2
from common import run
from tflite_support.task import core, processor, vision


def load(model, facts):
    detector = vision.ObjectDetector.create_from_options(
        vision.ObjectDetectorOptions(
            base_options=core.BaseOptions(file_name=model), detection_options=processor.DetectionOptions()
        )
    )

    def detect(picture):
        rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # the image below only points to it
        rows = []
        for found in detector.detect(vision.TensorImage.create_from_array(rgb)).detections:
            box = found.bounding_box
            corners = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
            rows += [[category.category_name, category.score, *corners] for category in found.categories]
        return rows

    return detect


run(load)
