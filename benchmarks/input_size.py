"""A trained network at another input size, without training: what its weights are worth there.

    python benchmarks/input_size.py CHECKPOINT --coco ANNOTATIONS IMAGES [--sizes 300,332,364,396,384]
        [--only-ids LIST] [--exponents 1,1,1,0.5,0,0] [--markdown sizes.md]

CHECKPOINT is an SSDLite-MobileNetV2 with TensorFlow's padding. Priors keep their size in pixels where a level's
exponent is 1 and in units of the picture where it is 0. With SAME padding a strided layer pads on both sides of an odd
map and on one side of an even one, so that cells lie where they lay in training only at sizes whose maps are odd and
even in the same order: 300, 332, 364, 396, ... (16 m - 4 with m odd). 384 is one where they do not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgessd import Detector
from edgessd.datasets import LabelledSet, load_coco
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.protocols import under_protocol
from edgessd.io.files import write_text_atomic
from edgessd.io.markdown import markdown_table
from edgessd.models import SSD, create_model, load_checkpoint
from edgessd.ops.priors import explicit_priors, tensorflow_priors
from edgessd.runtimes.torch import TorchRuntime
from edgessd.spec import ModelSpec, PriorSpec

TRAINED = 300
WANTED = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")


def resized(checkpoint: Path, size: int, exponents: list[float]) -> tuple[SSD, ModelSpec]:
    """Return the network of a checkpoint for another input size."""

    def rule(maps: Any) -> PriorSpec:
        levels = tensorflow_priors(maps).levels
        factors = [(TRAINED / size) ** exponent for exponent in exponents]
        boxes = [
            [(w * factor, h * factor) for w, h in level.boxes] for level, factor in zip(levels, factors, strict=True)
        ]
        return explicit_priors(maps, boxes)

    trained, _ = load_checkpoint(checkpoint)
    model, spec = create_model("ssdlite300_mobilenet_v2", size=size, priors=rule, receptive_fields=False)
    model.load_state_dict(trained.state_dict())
    return model.eval(), spec


def main() -> None:
    """Evaluate every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--coco", nargs=2, metavar=("ANNOTATIONS", "IMAGES"), required=True)
    parser.add_argument("--only-ids", type=Path, help="text file of image ids to measure on as well")
    parser.add_argument("--sizes", default="300,332,364,396,384")
    parser.add_argument("--exponents", default="1,1,1,0.5,0,0", help="one for each level")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    sets: dict[str, LabelledSet] = {"": load_coco(*args.coco)}
    if args.only_ids:
        sets["chosen "] = load_coco(*args.coco, ids=[int(line) for line in args.only_ids.read_text().split()])
    rows = []
    for size in map(int, args.sizes.split(",")):
        model, spec = resized(args.checkpoint, size, [float(each) for each in args.exponents.split(",")])
        row: dict[str, Any] = {"size": size, "levels": " ".join(str(level.rows) for level in spec.priors.levels)}
        with under_protocol(Detector(TorchRuntime((model, spec), threads=args.threads)), "coco") as detector:
            for prefix, truth in sets.items():
                figures = coco_ap(truth, detect_all(detector, truth))
                row |= {prefix + key: round(figures[key], 1) for key in WANTED}
        rows.append(row)
        print(markdown_table(rows), flush=True)
    if args.markdown:
        write_text_atomic(args.markdown, markdown_table(rows) + "\n")


if __name__ == "__main__":
    main()
