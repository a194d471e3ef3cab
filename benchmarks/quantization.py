"""Backbone x precision x runtime: size, time, distance to the checkpoint, share of integer operators, AP.

    python benchmarks/quantization.py --json table.json --plot table.png
    python benchmarks/quantization.py CHECKPOINT... --images PICTURES --coco ANNOTATIONS IMAGES
    python benchmarks/quantization.py --networks timm:resnet18 timm:mobilenetv2_100 --formats onnx --levels raw nms

CHECKPOINT is a float checkpoint, quantised here by PTQ, or one that `edgessd qat` wrote (its int8 files only).
A network without weights is made with random ones: its times and its distances are real, its AP is not. All
runtimes of one network are timed in turns within the same minute, so the ratio to fp32 is one run's. A combination
that breaks is a row with its reason; --json is read first if it exists, and rows that it has are not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from turns import median_milliseconds

from edgessd import Detector, zoo
from edgessd.apps.benchmark.tables import markdown_table
from edgessd.datasets import load_coco
from edgessd.errors import EdgeSSDError
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.detections import detect_all
from edgessd.export import export_model
from edgessd.export.formats import open_source
from edgessd.export.verify import verify
from edgessd.io.files import atomic_write, write_text_atomic
from edgessd.io.sources import expand
from edgessd.models import create_model
from edgessd.models.ssd import SSD
from edgessd.quantization import calibration_pictures, quantize
from edgessd.runtimes import load_runtime

NETWORKS = (
    "timm:mobilenetv2_100",
    "timm:mobilenetv3_large_100",
    "timm:mobilenetv4_conv_small",
    "timm:efficientnet_lite0",
    "timm:resnet18",
    "ssd300_vgg16",
)
SUFFIX = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".xml"}
LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"exit": code, "seconds": round(time.perf_counter() - started, 1), "peak_MB": round(peak)}))
"""
COLORS = {"fp32": "#4477aa", "fp16": "#66ccee", "int8": "#ee7733"}


def make_network(name: str) -> tuple[SSD, Any]:
    """A network with random weights in which small errors stay small, as in a trained one."""
    torch.manual_seed(0)
    if name.startswith("timm:"):
        model, spec = create_model("ssdlite", backbone=name, size=320, classes=["object", "other"])
    else:
        model, spec = create_model(name, classes=["object", "other"])
    with torch.no_grad():
        for module in model.modules():
            # Depthwise kernels that average, as many trained ones do; random ones make noise of every map.
            if isinstance(module, torch.nn.Conv2d) and module.groups == module.in_channels > 3:
                module.weight.copy_(1 / module.weight[0].numel() + 0.05 * torch.randn_like(module.weight))
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1)  # some start their last one of a block at 0, which leaves the block out
    return model.eval(), spec


def rows_of(name: str, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every combination of one network."""
    source: Any = open_source(name) if Path(name).suffix == ".safetensors" else make_network(name)
    quantized: Any = None
    rows: list[dict[str, Any]] = []
    runtimes: dict[int, Any] = {}
    if not isinstance(source[0], SSD):
        quantized, source = source[0], None
    for precision in args.precisions:
        if precision == "int8" and quantized is None:
            started = time.perf_counter()
            quantized = quantize(source[0], source[1], calibration_pictures(args.images, args.calibration_images))
            print(f"  quantised in {time.perf_counter() - started:.0f} s", flush=True)
        given = quantized if precision == "int8" else source
        if given is None:
            continue
        for format in args.formats:
            for level in args.levels:
                row: dict[str, Any] = {"network": name, "precision": precision, "format": format, "level": level}
                rows.append(row)
                file = folder / f"{precision}-{level}{SUFFIX[format]}"
                try:
                    started = time.perf_counter()
                    export_model(given, file, precision=precision, level=level)
                    row["export_s"] = round(time.perf_counter() - started, 1)
                    row |= compared(file, given if precision != "int8" else (quantized.graph, quantized.spec), args)
                    if args.coco and Path(name).suffix == ".safetensors" and level == "raw":
                        row |= accuracy(file, args)
                    runtimes[len(rows) - 1] = load_runtime(file, threads=1)
                except Exception as error:  # one combination must not end the table
                    row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                print(" ", {key: value for key, value in row.items() if key != "network"}, flush=True)
    for threads in args.threads if args.runs else ():
        if threads != 1:
            for index, runtime in list(runtimes.items()):
                runtime.close()
                row = rows[index]
                file = folder / f"{row['precision']}-{row['level']}{SUFFIX[row['format']]}"
                runtimes[index] = load_runtime(file, threads=threads)
        timed(rows, runtimes, threads, args.runs)
    for runtime in runtimes.values():
        runtime.close()
    return rows


def compared(file: Path, checkpoint: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Distance to the checkpoint (for int8: the fake-quantised one), size, share of integer operators."""
    report = verify(file, checkpoint, images=list(expand(args.images))[: args.pictures])
    row: dict[str, Any] = {"MB": round(report.megabytes, 2), "agreement": round(report.agreement, 4)}
    if report.rms_logits is not None and report.rms_offsets is not None:
        row |= {"rms_logits": float(f"{report.rms_logits:.2g}"), "rms_offsets": float(f"{report.rms_offsets:.2g}")}
    if report.integer_share is not None:
        row["integer_share"] = round(report.integer_share, 3)
        left = sum(count for kind, count in report.floating.items() if "conv" in kind.lower())
        row["float_convolutions"] = left
    return row


def accuracy(file: Path, args: argparse.Namespace) -> dict[str, Any]:
    """COCO AP and AP50, in percent."""
    truth = load_coco(*args.coco)
    with Detector.load(file) as detector:
        figures = coco_ap(truth, detect_all(detector, truth))
    return {"AP": round(figures["AP"], 2), "AP50": round(figures["AP50"], 2)}


def timed(rows: list[dict[str, Any]], runtimes: dict[int, Any], threads: int, runs: int) -> None:
    """Median milliseconds of the bare run, all in turns; and the ratio to the same runtime's fp32 file."""
    times = median_milliseconds(runtimes, runs)
    reference = {}
    for index, value in times.items():
        row = rows[index]
        row[f"ms_{threads}"] = value
        if row["precision"] == "fp32":
            reference[row["format"], row["level"]] = row[f"ms_{threads}"]
    for index in times:
        row = rows[index]
        if (row["format"], row["level"]) in reference:
            row[f"ratio_{threads}"] = round(row[f"ms_{threads}"] / reference[row["format"], row["level"]], 3)


def export_costs(checkpoints: list[str], folder: Path) -> list[dict[str, Any]]:
    """`edgessd export` as a whole command: seconds and peak memory, by format."""
    rows = []
    for checkpoint in checkpoints:
        for format, suffix in SUFFIX.items():
            command = [sys.executable, "-m", "edgessd", "export", checkpoint, "-o", str(folder / f"cost{suffix}")]
            # From a small process: what a large one starts counts as large as the large one.
            done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True)
            row = {"export": Path(checkpoint).name, "format": format, **json.loads(done.stdout.splitlines()[-1])}
            rows.append(row)
            print(" ", row, flush=True)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds of one thread, a panel for each format."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    shown = [row for row in rows if "ms_1" in row and row["level"] == "raw"]
    formats = [name for name in SUFFIX if any(row["format"] == name for row in shown)]
    precisions = [name for name in COLORS if any(row["precision"] == name for row in shown)]
    height = 0.8 / len(precisions)
    networks = list(dict.fromkeys(row["network"] for row in shown))[::-1]
    figure = Figure(figsize=(4 * len(formats) + 2, 1.6 + 0.7 * len(networks)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(formats), sharey=True, sharex=True))
    for panel, format in zip(panels, formats, strict=True):
        for offset, precision in enumerate(precisions):
            found = {r["network"]: r for r in shown if (r["format"], r["precision"]) == (format, precision)}
            places = [
                index + height * ((len(precisions) - 1) / 2 - offset)
                for index, name in enumerate(networks)
                if name in found
            ]
            values = [found[name] for name in networks if name in found]
            if values:
                widths = [row["ms_1"] for row in values]
                bars = panel.barh(places, widths, 0.95 * height, color=COLORS[precision], label=precision)
                panel.bar_label(bars, [f"{row['ms_1']:.1f}" for row in values], padding=2, fontsize=8)
        panel.set_title({"onnx": "ONNX Runtime", "tflite": "LiteRT", "openvino": "OpenVINO"}[format])
        panel.set_xlabel("ms of the bare run, one thread")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.2)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    labels = [Path(name).stem if name.endswith(".safetensors") else name.removeprefix("timm:") for name in networks]
    panels[0].set_yticks(range(len(networks)), labels)
    panels[-1].legend(loc="lower right", fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    """Make the rows, network by network, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*")
    parser.add_argument("--networks", nargs="*", default=None, help="timm:NAME or an SSD preset, with random weights")
    parser.add_argument("--formats", nargs="*", default=list(SUFFIX), choices=list(SUFFIX))
    parser.add_argument("--precisions", nargs="*", default=list(COLORS), choices=list(COLORS))
    parser.add_argument("--levels", nargs="*", default=["raw"])
    parser.add_argument("--images", default=str(Path(zoo.photos()[0]).parent), help="calibration and comparison")
    parser.add_argument("--calibration-images", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=4, help="to compare on")
    parser.add_argument("--coco", nargs=2, metavar=("ANNOTATIONS", "IMAGES"))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--runs", type=int, default=30, help="0 times nothing")
    parser.add_argument("--export-costs", action="store_true", help="time `edgessd export` of the checkpoints as well")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(max(args.threads))
    networks = args.networks if args.networks is not None else ([] if args.checkpoints else list(NETWORKS))
    rows: list[dict[str, Any]] = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    known = {row.get("network") for row in rows}
    for name in [*args.checkpoints, *networks]:
        if name in known:
            continue
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows += rows_of(name, args, Path(folder))
            except (EdgeSSDError, RuntimeError, ValueError) as error:
                rows.append({"network": name, "error": str(error).splitlines()[0][:200]})
        if args.json:
            write_text_atomic(args.json, json.dumps(rows, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        costs = export_costs(args.checkpoints, Path(folder)) if args.export_costs else []
    text = markdown_table(rows) + ("\n\n" + markdown_table(costs) if costs else "")
    print(text)
    if args.markdown:
        write_text_atomic(args.markdown, text + "\n")
    if args.plot:
        draw([row for row in rows if "error" not in row], args.plot)


if __name__ == "__main__":
    main()
