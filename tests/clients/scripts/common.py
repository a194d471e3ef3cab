"""What the clients' scripts share: pictures, the input, OpenCV's suppression, the answer. Needs numpy and OpenCV.

A script runs as SCRIPT MODEL FACTS ANSWER PICTURE...: it runs the model file on the pictures, as its client's own
documentation says, and writes ANSWER, JSON: for every picture a list of [label or name, score, x1, y1, x2, y2],
corners in pixels of the picture. FACTS is what `edgessd info MODEL --json` prints: what a reader of that knows.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np


def run(load):
    """load(model, facts) returns a function from a picture [H, W, 3] uint8 BGR to rows."""
    model, facts, answer, *pictures = sys.argv[1:]
    detect = load(model, json.loads(Path(facts).read_text()))
    rows = [[[*row[:1], *map(float, row[1:])] for row in detect(cv2.imread(path))] for path in pictures]
    Path(answer).write_text(json.dumps(rows))


def bytes_of(picture, width, height):
    """Return the picture's bytes as RGB [height, width, 3]."""
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (width, height))


def tensor_of(picture, facts):
    """Return the input [1, ...] that the spec in FACTS asks for."""
    spec = facts["input"]
    tensor = bytes_of(picture, spec["width"], spec["height"])
    if spec["dtype"] == "float32":
        tensor = ((tensor - np.array(spec["mean"])) / np.array(spec["scale"])).astype(np.float32)
    return np.ascontiguousarray(tensor.transpose(2, 0, 1) if spec["layout"] == "NCHW" else tensor)[None]


def scaled(labels, scores, boxes, picture):
    """Return the rows of final detections: boxes [N, 4] xyxy as shares of the picture; the first score of 0 ends."""
    height, width = picture.shape[:2]
    rows = zip(labels, scores, np.asarray(boxes) * [width, height, width, height], strict=True)
    return [[int(label), score, *box] for label, score, box in rows if score > 0]


def suppressed(scores, boxes, facts, picture):
    """Return the rows of all priors' scores [P, C] and boxes [P, 4], by OpenCV's class-wise suppression."""
    limits = facts["defaults"]
    boxes = np.clip(boxes, 0, 1)
    priors, labels = np.nonzero(scores >= limits["score_threshold"])
    found, score = boxes[priors], scores[priors, labels]
    corner_and_size = np.concatenate([found[:, :2], found[:, 2:] - found[:, :2]], 1).astype(float)
    kept = cv2.dnn.NMSBoxesBatched(
        corner_and_size.tolist(), score.tolist(), labels.tolist(), limits["score_threshold"], limits["iou_threshold"]
    )
    kept = np.array(kept, int).reshape(-1)[: limits["max_detections"]]
    return scaled(labels[kept], score[kept], found[kept], picture)
