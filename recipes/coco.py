"""Make the bundled model `edgessd-coco`: TensorFlow's SSDLite-MobileNetV2 (COCO), int8, as ONNX and as TFLite.

    python recipes/coco.py --weights FILE.safetensors --calibration DIR --unlabelled DIR [--coco ANNOTATIONS IMAGES]
                           [--out runs/coco] [--install] [--quick]

Steps, each of which is left out where its result lies in --out already: the float checkpoint; the quantised one by
`edgessd qat` (equalised, calibrated, the float network's outputs learnt on pictures without labels, rounded
adaptively; with --epochs 0 `edgessd quantize` instead); both files, verified; COCO AP of all three, distance to the
float network. The figures go into report.json, report.md and the files themselves. --install copies the files into the
package. --quick takes 32 pictures everywhere.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
from steps import int8_files, linked, write_table

from edgessd import Detector, __version__
from edgessd.classes.coco import COCO_IDS
from edgessd.datasets import load_coco
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.distance import distance
from edgessd.io.sources import expand
from edgessd.models.checkpoint import load_checkpoint, save_checkpoint
from edgessd.models.weights import tensorflow_ssdlite
from edgessd.quantization import calibration_pictures, quantize, save_quantized
from edgessd.quantization.qat import STATE, QatConfig, qat
from edgessd.runtimes import load_runtime
from edgessd.spec import Provenance

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
NAME = "edgessd-coco"
QUICK = 32


def float_checkpoint(args: argparse.Namespace) -> Path:
    """TensorFlow's weights under our name."""
    path: Path = args.out / "float.safetensors"
    if not path.exists():
        model, spec = tensorflow_ssdlite(str(args.weights))
        origin = Provenance(edgessd=__version__, weights=spec.provenance.weights, license="Apache-2.0")
        save_checkpoint(path, model, msgspec.structs.replace(spec, name=NAME, category_ids=COCO_IDS, provenance=origin))
    return path


def quantised(args: argparse.Namespace, start: Path) -> Path:
    """The quantised checkpoint: the best epoch of the training, or without training."""
    if args.epochs == 0:
        path: Path = args.out / "ptq.safetensors"
        if not path.exists():
            network = quantize(*load_checkpoint(start), calibration_pictures(args.calibration, args.pictures))
            save_quantized(path, network)
        return path
    run = args.out / "qat"
    config = QatConfig(
        init=str(start),
        out=str(run),
        calibration=str(args.calibration),
        calibration_images=args.pictures,
        unlabelled=str(args.unlabelled if not args.quick else few(args)),
        epochs=1 if args.quick else args.epochs,
        batch_size=16,
        threads=args.threads,
    )
    return qat(config, resume=(run / STATE).exists()).best


def few(args: argparse.Namespace) -> Path:
    """A folder with a few of the pictures without labels."""
    return linked([Path(str(each)) for each in expand(args.unlabelled)][:QUICK], args.out / "few")


def accuracy(model: Path, args: argparse.Namespace) -> dict[str, float]:
    """COCO AP, AP50 and by size, in percent; empty without --coco."""
    if not args.coco:
        return {}
    truth = load_coco(*args.coco)
    with Detector.load(model) as detector:
        figures = coco_ap(truth, detect_all(detector, truth))
    wanted = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
    return {key: round(figures[key], 2) for key in wanted if key in figures}


def away(model: Path, start: Path, args: argparse.Namespace) -> dict[str, float]:
    """Distance of a file to the float network, on the pictures of --coco or of the calibration."""
    pictures = [Path(str(each)) for each in expand(args.coco[1] if args.coco else args.calibration)]
    found = distance(
        load_runtime(model, threads=args.threads), load_runtime(start), pictures[: QUICK if args.quick else None]
    )
    return {"rms_boxes": round(found.boxes, 4), "rms_scores": round(found.scores, 4)}


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHARED / "weights/ssdlite_mobilenet_v2_coco.safetensors")
    parser.add_argument("--calibration", type=Path, default=SHARED / "data/coco/train343")
    parser.add_argument("--unlabelled", type=Path, default=SHARED / "data/coco/train343")
    coco = [str(SHARED / "data/coco/annotations/instances_val206.json"), str(SHARED / "data/coco/val206")]
    parser.add_argument("--coco", nargs=2, metavar=("ANNOTATIONS", "IMAGES"), default=coco)
    parser.add_argument("--epochs", type=int, default=1, help="of quantisation-aware training; 0 quantises only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/coco")
    parser.add_argument("--install", action="store_true", help="copy the files into the package")
    parser.add_argument("--quick", action="store_true", help="a few pictures: the same path in minutes")
    args = parser.parse_args()
    args.pictures = QUICK if args.quick else 128
    args.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    start = float_checkpoint(args)
    best = quantised(args, start)
    rows: list[dict[str, Any]] = [
        {"file": start.name, "MB": round(start.stat().st_size / 1e6, 2), **accuracy(start, args)}
    ]
    files, more = int8_files(
        best,
        args.out,
        NAME,
        f"coco/{Path(args.coco[1]).name}" if args.coco else "",
        lambda file: accuracy(file, args),
        lambda file: away(file, start, args),
        license="Apache-2.0",
    )
    write_table(args.out, "report", [*rows, *more])
    print(f"{time.perf_counter() - started:.0f} s")
    if args.install:
        for file in files:
            shutil.copyfile(file, ROOT / "edgessd/zoo/models" / file.name)


if __name__ == "__main__":
    main()
