"""Makes stored_truth.json and stored_detections.json (and prints pycocotools' figures of them).

    python tests/data/make_stored.py

40 invented pictures, 6 classes, detections as a middling detector gives them: jittered boxes, doubles,
mistaken classes, and boxes in the background. Objects of one class never overlap at IoU 0.2 or more, so
that VOC's rule (a detection answers to the object it overlaps most) and COCO's (to the best one that is
still free) agree, and pycocotools can be asked for VOC's figures.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CLASSES = ["aeroplane", "car", "cat", "chair", "dog", "person"]
SAID = ["airplane", "car", "cat", "chair", "dog", "kite", "person"]


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def detection(box, name, score):
    label = SAID.index({"aeroplane": "airplane"}.get(name, name))
    return [round(float(v), 2) for v in box], round(float(score), 4), label


def main():
    rng = np.random.default_rng(1)
    images, annotations, pictures = [], [], []
    for number in range(1, 41):
        images.append({"id": number, "file_name": f"{number:03d}.jpg", "width": 640, "height": 480})
        objects = []
        for _ in range(rng.integers(0, 7)):
            size = np.exp(rng.uniform(np.log(12), np.log(260), 2))
            low = rng.uniform(0, [640, 480] - size)
            box = [*low.round(2).tolist(), *(low + size).round(2).tolist()]
            name = CLASSES[rng.integers(6)]
            if all(other != name or iou(box, old) < 0.2 for other, old, _ in objects):
                objects.append((name, box, bool(rng.random() < 0.06)))
        said = []
        for name, box, crowd in objects:
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 10 * CLASSES.index(name) + 3,
                    "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                    "area": round((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": int(crowd),
                }
            )
            side = np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
            for _ in range(rng.integers(0, 4)):
                jitter = rng.normal(0, 0.09, 4) * side
                other = name if rng.random() < 0.8 else CLASSES[rng.integers(6)]
                score = rng.beta(3, 2) if other == name else rng.beta(2, 4)
                said.append(detection(np.array(box) + jitter, other, score))
        for _ in range(rng.integers(0, 5)):
            size = rng.uniform(20, 200, 2)
            low = rng.uniform(0, [640, 480] - size)
            said.append(detection([*low, *(low + size)], [*CLASSES, "kite"][rng.integers(7)], rng.beta(1.5, 5)))
        said.sort(key=lambda item: -item[1])
        pictures.append(
            {
                "name": f"{number:03d}",
                "width": 640,
                "height": 480,
                "boxes": [item[0] for item in said],
                "scores": [item[1] for item in said],
                "labels": [item[2] for item in said],
            }
        )
    categories = [{"id": 10 * label + 3, "name": name} for label, name in enumerate(CLASSES)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (HERE / "stored_truth.json").write_text(json.dumps(truth) + "\n")
    stored = {"model": "invented", "classes": SAID, "images": pictures}
    (HERE / "stored_detections.json").write_text(json.dumps(stored) + "\n")
    reference(truth, stored)


def reference(truth, stored):
    """Figures of pycocotools: COCO's, and at IoU 0.5 the 11 points of VOC07 and a fine grid for the area."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = {"airplane": "aeroplane"}
    results = []
    for picture in stored["images"]:
        for box, score, label in zip(picture["boxes"], picture["scores"], picture["labels"], strict=True):
            name = names.get(stored["classes"][label], stored["classes"][label])
            if name in CLASSES:
                # The same rounding to float32 as in Detections.
                x1, y1, x2, y2 = np.float32(box).astype(float).tolist()
                entry = {"image_id": int(picture["name"]), "category_id": 10 * CLASSES.index(name) + 3}
                results.append(entry | {"bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(np.float32(score))})
    # Truth goes through float32, too.
    document = json.loads(json.dumps(truth))
    for item in document["annotations"]:
        x, y, w, h = item["bbox"]
        x1, y1, x2, y2 = np.float32([x, y, x + w, y + h]).astype(float).tolist()
        item["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    coco = COCO()
    coco.dataset = {"info": {}, **document}
    coco.createIndex()
    found = coco.loadRes(results)
    run = COCOeval(coco, found, "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    print("coco", [round(100 * float(v), 6) for v in run.stats[:9]])
    per_class = run.eval["precision"][:, :, :, 0, -1]
    print("coco by class", [round(100 * float(per_class[:, :, k].mean()), 6) for k in range(6)])
    # A hair below 0.1, 0.2, ...: 14 of 20 objects are a recall of 0.7, which numpy's 0.7000000000000001 would miss.
    for what, points in (("voc07", np.linspace(0, 1, 11) - 1e-12), ("voc", np.linspace(0, 1, 20001))):
        run = COCOeval(coco, found, "bbox")
        run.params.iouThrs = np.array([0.5])
        run.params.recThrs = points
        run.params.maxDets = [1000]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()
        table = run.eval["precision"][0, :, :, 0, 0]
        print(what, [round(100 * float(v), 6) for v in table.mean(axis=0)], round(100 * float(table.mean()), 6))


if __name__ == "__main__":
    main()
