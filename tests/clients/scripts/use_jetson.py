"""What jetson-inference's `detectNet` expects of an ONNX file, on onnxruntime in place of TensorRT.

Contract: input `input_0` [1, 3, H, W], float32 RGB, (pixel - 127.5) / 127.5; outputs `scores` [1, P, C + 1] with the
background first, `boxes` [1, P, 4] as x1, y1, x2, y2 in shares of the picture. Every prior gives its best class from
0.5 on; boxes of one class that overlap by more than 0.75 of the larger one are joined to one that holds both. Source:
jetson-inference, c/detectNet.cpp and c/detectNet.h.
"""

import numpy as np
from common import bytes_of, run

THRESHOLD, OVERLAP = 0.5, 0.75


def detections(scores, boxes):
    """[P, C + 1] and [P, 4] -> list of [label without the background, score, x1, y1, x2, y2]."""
    found = []
    best = scores[:, 1:].argmax(1)
    for prior in np.flatnonzero(scores[:, 1:].max(1) >= THRESHOLD):
        box = [int(best[prior]), float(scores[prior, 1 + best[prior]]), *boxes[prior].tolist()]
        for other in found:
            if other[0] == box[0] and share(other[2:], box[2:]) > OVERLAP:
                other[1] = max(other[1], box[1])
                other[2:] = [*map(min, other[2:4], box[2:4]), *map(max, other[4:], box[4:])]
                break
        else:
            found.append(box)
    return found


def share(first, second):
    """Return the common area as a share of the larger one's."""
    sides = [min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return sides[0] * sides[1] / max(areas) if min(sides) > 0 else 0.0


def load(model, facts):
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    (image,) = session.get_inputs()
    _, _, height, width = image.shape

    def detect(picture):
        tensor = ((bytes_of(picture, width, height) - np.float32(127.5)) / np.float32(127.5)).transpose(2, 0, 1)
        scores, boxes = session.run(["scores", "boxes"], {"input_0": np.ascontiguousarray(tensor)[None]})
        size = picture.shape[1::-1] * 2
        return [[*row[:2], *np.clip(np.array(row[2:]) * size, 0, size)] for row in detections(scores[0], boxes[0])]

    return detect


if __name__ == "__main__":
    run(load)
