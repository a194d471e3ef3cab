"""Boxes of an ensemble for pictures without labels: edgessd-coco and YOLOX-Nano, mirrored and in tiles, fused.

    python recipes/teacher.py FOLDER... --out boxes.jsonl [--ssd FILE] [--yolox FILE.onnx] [--coco ANNOTATIONS]
        [--only-ids LIST]

One line of JSON a picture: its path, its size, and boxes (xyxy pixels), scores and labels of the 80 COCO classes,
fused by weighted boxes (Solovyev et al. 2021). A run goes on where it was stopped. With --coco the folder's pictures
are evaluated as well: what the ensemble is worth.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd import Detector
from edgessd.apps.benchmark.peers import open_peer
from edgessd.datasets import load_coco
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.protocols import under_protocol
from edgessd.io.images import load_image
from edgessd.ops.boxes import iou_matrix
from edgessd.results import Detections

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# Of the SSD and of YOLOX, each as it is, mirrored, and in tiles.
WEIGHTS = {"plain": (2.0, 2.0), "mirror": (2.0, 2.0), "tiles": (1.5, 1.0)}
OVERLAP = 0.2
FUSION_IOU = 0.6
SCORE, MOST = 0.02, 100
# Below this side a picture has no detail that its tiles could show.
TILED_FROM = 300

Table = NDArray[np.float32]  # [N, 6]: x1, y1, x2, y2 in 0..1, score, label


def views(image: NDArray[np.uint8]) -> dict[str, list[tuple[NDArray[np.uint8], Any]]]:
    """The picture, its mirror image, and four overlapping tiles, each with how its boxes come back."""
    height, width = image.shape[:2]
    shown: dict[str, list[tuple[NDArray[np.uint8], Any]]] = {
        "plain": [(image, None)],
        "mirror": [(np.ascontiguousarray(image[:, ::-1]), "mirror")],
    }
    if min(height, width) >= TILED_FROM:
        share = (1 + OVERLAP) / 2
        tiles = []
        for top in (0, height - round(share * height)):
            for left in (0, width - round(share * width)):
                part = image[top : top + round(share * height), left : left + round(share * width)]
                tiles.append((np.ascontiguousarray(part), (left, top)))
        shown["tiles"] = tiles
    return shown


def moved_back(found: Detections, place: Any, size: tuple[int, int]) -> Table:
    """Boxes of one view in units of the picture; of a tile without those that its inner borders cut."""
    width, height = size
    boxes = np.array(found.boxes, np.float32)
    own_width, own_height = found.image_size
    kept = np.ones(len(boxes), bool)
    if place == "mirror":
        boxes[:, [0, 2]] = own_width - boxes[:, [2, 0]]
    elif place is not None:
        left, top = place
        margin = 2.0
        kept &= (boxes[:, 0] > margin) | (left == 0)
        kept &= (boxes[:, 1] > margin) | (top == 0)
        kept &= (boxes[:, 2] < own_width - margin) | (left + own_width >= width)
        kept &= (boxes[:, 3] < own_height - margin) | (top + own_height >= height)
        boxes += np.array([left, top, left, top], np.float32)
    boxes /= np.array([width, height, width, height], np.float32)
    return np.column_stack([boxes, found.scores, found.labels])[kept].astype(np.float32)


def fused(tables: list[Table], weights: list[float], iou_threshold: float = FUSION_IOU) -> Table:
    """Weighted boxes fusion: boxes of a class that overlap become their mean, weighted by score.

    The score is the weighted mean over all views, those without such a box counting as zero.
    """
    rows = [
        np.column_stack([table, np.full(len(table), weight)]) for table, weight in zip(tables, weights, strict=True)
    ]
    every = np.concatenate(rows).astype(np.float32)
    every = every[np.argsort(-every[:, 4] * every[:, 6], kind="stable")]
    found: list[NDArray[np.float32]] = []
    for label in np.unique(every[:, 5]):
        of_class = every[every[:, 5] == label]
        sums = np.zeros((len(of_class), 5), np.float32)  # boxes * score * weight, score * weight
        means = np.zeros((len(of_class), 4), np.float32)
        count = 0
        for row in of_class:
            worth = row[4] * row[6]
            overlaps = iou_matrix(row[None, :4], means[:count])[0] if count else np.zeros(0)
            place = int(overlaps.argmax()) if count and overlaps.max() > iou_threshold else count
            count = max(count, place + 1)
            sums[place, :4] += row[:4] * worth
            sums[place, 4] += worth
            means[place] = sums[place, :4] / sums[place, 4]
        scores = np.minimum(sums[:count, 4] / sum(weights), 1)
        found.append(np.column_stack([means[:count], scores, np.full(count, label)]))
    if not found:
        return np.zeros((0, 6), np.float32)
    result = np.concatenate(found)
    result = result[result[:, 4] >= SCORE]
    return result[np.argsort(-result[:, 4], kind="stable")][:MOST].astype(np.float32)


def detect(image: NDArray[np.uint8], detectors: tuple[Detector, Detector]) -> Table:
    """The ensemble's boxes of one picture."""
    size = (image.shape[1], image.shape[0])
    tables, weights = [], []
    for name, shown in views(image).items():
        for detector, weight in zip(detectors, WEIGHTS[name], strict=True):
            parts = [moved_back(detector(picture), place, size) for picture, place in shown]
            tables.append(np.concatenate(parts))
            weights.append(weight)
    return fused(tables, weights)


def main() -> None:
    """Write a line for each picture; evaluate them where there are labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ssd", default=str(ROOT / "edgessd/zoo/models/edgessd-coco.onnx"))
    parser.add_argument("--yolox", type=Path, default=SHARED / "weights/yolox_nano.onnx")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--coco", type=Path, help="annotations to evaluate with")
    parser.add_argument("--only-ids", type=Path, help="text file of image ids to evaluate on as well")
    args = parser.parse_args()
    ssd = Detector.load(args.ssd, threads=args.threads)
    detectors = (
        under_protocol(ssd, "coco"),
        under_protocol(open_peer(f"yolox:{args.yolox}", "cpu", args.threads, {}), "coco"),
    )
    done = {json.loads(line)["file"] for line in args.out.open()} if args.out.exists() else set()
    pictures = [path for folder in args.folders for path in sorted(folder.iterdir()) if str(path) not in done]
    started = time.perf_counter()
    with args.out.open("a") as out:
        for number, path in enumerate(pictures):
            image = load_image(path)
            table = detect(image, detectors)
            height, width = image.shape[:2]
            boxes = table[:, :4] * np.array([width, height, width, height], np.float32)
            line = {"file": str(path), "size": [width, height], "boxes": boxes.round(1).tolist()}
            line |= {"scores": table[:, 4].round(3).tolist(), "labels": table[:, 5].astype(int).tolist()}
            out.write(json.dumps(line) + "\n")
            if number % 200 == 199:
                print(
                    f"{number + 1} of {len(pictures)}, {(number + 1) / (time.perf_counter() - started):.1f}/s",
                    flush=True,
                )
    if args.coco:
        stored = {Path(each["file"]): each for each in map(json.loads, args.out.open())}
        chosen = {"all": None}
        if args.only_ids:
            chosen["chosen"] = [int(line) for line in args.only_ids.read_text().split()]
        for name, ids in chosen.items():
            truth = load_coco(args.coco, args.folders[0], ids=ids)
            found = [of_line(stored[sample.image], detectors[0].spec.classes) for sample in truth.samples]
            figures = coco_ap(truth, found)
            print(
                name,
                " ".join(f"{key} {figures[key]:.1f}" for key in ("AP", "AP50", "AP_small", "AP_medium", "AP_large")),
            )


def of_line(line: dict[str, Any], classes: tuple[str, ...]) -> Detections:
    """Detections of a stored line."""
    boxes = np.array(line["boxes"], np.float32).reshape(-1, 4)
    scores, labels = np.array(line["scores"], np.float32), np.array(line["labels"], np.int64)
    return Detections(boxes, scores, labels, classes, tuple(line["size"]))


if __name__ == "__main__":
    main()
