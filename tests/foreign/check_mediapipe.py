"""Does MediaPipe's ObjectDetector give the detections that edgessd gives? Needs mediapipe only.

A detection agrees where MediaPipe has one of the same class with IoU >= 0.95 and a score within 0.02. MediaPipe cuts
the left top corner and the size of a box to whole pixels: a corner may be off by 1 and 2 of them, whatever the IoU.
Where one side has a score within 0.02 of the file's threshold, the other may lack it.
"""

import argparse
import sys

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

SCORE, IOU = 0.02, 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("expected")
    parser.add_argument("--resize", type=int, metavar="SIDE", help="resize to SIDE x SIDE as edgessd does, first")
    options = parser.parse_args()
    expected = np.load(options.expected)
    classes, threshold = expected["classes"].tolist(), float(expected["score_threshold"])
    detector = vision.ObjectDetector.create_from_options(
        vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=options.model))
    )
    totals = {"detections": 0, "agree": 0, "more": 0, "pictures": 0, "same": 0}
    worst_score, overlaps = 0.0, []
    for path, rows in zip(expected["paths"].tolist(), expected["found"], strict=True):
        picture = cv2.imread(path)
        height, width = picture.shape[:2]
        if options.resize:
            picture = cv2.resize(picture, (options.resize,) * 2)
        theirs = detect(detector, picture, classes, width, height)
        pixel = width / picture.shape[1], height / picture.shape[0]
        ours = [row for row in rows if row[0] >= 0]
        missing = 0
        for row in ours:
            best = match(row, theirs, pixel)
            totals["detections"] += 1
            if best is not None:
                totals["agree"] += 1
                worst_score = max(worst_score, abs(theirs[best][1] - row[1]))
                overlaps.append(overlap(row, theirs[best]))
                theirs.pop(best)
            elif row[1] > threshold + SCORE:
                missing += 1
                print(f"  {path.rsplit('/', 1)[-1]}: without {describe(row, classes)}")
        more = [row for row in theirs if row[1] > threshold + SCORE]
        for row in more:
            print(f"  {path.rsplit('/', 1)[-1]}: more {describe(row, classes)}")
        totals["more"] += len(more)
        totals["pictures"] += 1
        totals["same"] += not missing and not more
    print(totals, f"largest difference of scores {worst_score:.4f}, least IoU {min(overlaps, default=0):.4f}")
    detector.close()
    return 0 if totals["same"] == totals["pictures"] else 1


def detect(detector: vision.ObjectDetector, picture, classes, width, height) -> list[list[float]]:
    """Rows of label, score, x1, y1, x2, y2 in source pixels."""
    rgb = np.ascontiguousarray(picture[..., ::-1])
    answer = detector.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))
    x, y = width / rgb.shape[1], height / rgb.shape[0]
    rows = []
    for each in answer.detections:
        box = each.bounding_box
        corners = [box.origin_x * x, box.origin_y * y, (box.origin_x + box.width) * x, (box.origin_y + box.height) * y]
        # Boxes that are equal to the last digit are one detection of several categories there.
        rows += [[classes.index(category.category_name), category.score, *corners] for category in each.categories]
    return rows


def match(row, others, pixel) -> int | None:
    fits = [
        (overlap(row, other), index)
        for index, other in enumerate(others)
        if other[0] == row[0] and abs(other[1] - row[1]) <= SCORE and near(row, other, pixel)
    ]
    return max(fits)[1] if fits else None


def near(first, second, pixel) -> bool:
    off = np.abs(np.subtract(first[2:], second[2:]))
    return overlap(first, second) >= IOU or bool((off <= np.array([*pixel, *pixel]) * [1, 1, 2, 2]).all())


def overlap(first, second) -> float:
    low, high = np.maximum(first[2:4], second[2:4]), np.minimum(first[4:6], second[4:6])
    common = np.prod(np.maximum(high - low, 0))
    areas = sum((box[4] - box[2]) * (box[5] - box[3]) for box in (first, second))
    return float(common / max(areas - common, 1e-9))


def describe(row, classes) -> str:
    return f"{classes[int(row[0])]} {row[1]:.3f} at {[round(float(v)) for v in row[2:]]}"


if __name__ == "__main__":
    sys.exit(main())
