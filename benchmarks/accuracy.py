"""COCO AP and VOC07 mAP of model files, through the one data path.

    python benchmarks/accuracy.py MODEL... --coco ANNOTATIONS IMAGES --voc FOLDER SPLIT

MODEL is a bundled model's name, an ONNX file or a checkpoint. COCO is measured with scores >= 0.01,
NMS 0.6 and 100 boxes; VOC07 (11 points, difficult ignored) with NMS 0.5 on the classes that model
and data share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgessd import Detector
from edgessd.datasets import load_coco, load_voc
from edgessd.errors import EdgeSSDError
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.voc import voc_ap


def measure(model: str, args: argparse.Namespace) -> dict[str, object]:
    """All figures of one model, in percent."""
    row: dict[str, object] = {"model": model}
    if args.coco:
        unseen = None
        if args.only_ids:
            unseen = [int(line) for line in Path(args.only_ids).read_text().split()]
        truth = load_coco(*args.coco, ids=unseen)
        detector = Detector.load(model, threads=args.threads)
        row |= {f"coco/{key}": round(value, 2) for key, value in coco_ap(truth, detect_all(detector, truth)).items()}
        detector.close()
    if args.voc:
        detector = Detector.load(model, threads=args.threads)
        folder, split = args.voc
        everything = load_voc(folder, split)
        shared = [name for name in everything.classes if name in detector.spec.classes]
        if args.classes:
            shared = [name for name in args.classes.split(",") if name in shared]
        truth = load_voc(folder, split, shared)
        values = voc_ap(truth, detect_all(detector, truth, "voc07"))
        row["voc07/mAP"] = round(100 * float(np.nanmean(list(values.values()))), 2)
        row |= {f"voc07/{name}": round(100 * value, 2) for name, value in values.items()}
        detector.close()
    return row


def main() -> None:
    """Measure every model; a model that fails is a row with its reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--coco", nargs=2, metavar=("ANNOTATIONS", "IMAGES"))
    parser.add_argument("--only-ids", help="text file of COCO image ids to measure on")
    parser.add_argument("--voc", nargs=2, metavar=("FOLDER", "SPLIT"))
    parser.add_argument("--classes", help="VOC classes, separated by commas; default all that are shared")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for model in args.models:
        try:
            row = measure(model, args)
        except EdgeSSDError as error:
            row = {"model": model, "error": str(error)}
        rows.append(row)
        print(Path(str(row.pop("model"))).name)
        for key, value in row.items():
            print(f"  {key:24} {value}")
        row["model"] = model
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
