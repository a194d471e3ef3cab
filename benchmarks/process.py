"""Seconds and peak memory of detecting in one photo, as a whole process: edgessd beside torchvision.

    python benchmarks/process.py [PHOTO] [--runs 5]

torchvision's ssdlite320_mobilenet_v3_large runs with random weights (its time does not depend on
them), the way its documentation shows; edgessd runs its command. The two take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from statistics import median

from edgessd import zoo

TORCHVISION = """
import sys
from edgessd._torchvision import torchvision
import cv2, torch
model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
image = torch.from_numpy(cv2.imread(sys.argv[1])[..., ::-1].copy()).permute(2, 0, 1) / 255
with torch.inference_mode():
    print(len(model([image])[0]["boxes"]))
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return seconds and peak resident megabytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Measure both, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", default=str(zoo.photos()[0]))
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    commands = {
        "python -c 'import edgessd'": [sys.executable, "-c", "import edgessd"],
        "edgessd detect": [sys.executable, "-m", "edgessd", "detect", args.photo],
        "torchvision ssdlite320": [sys.executable, "-c", TORCHVISION, args.photo],
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(args.runs + 1):
        for name, command in commands.items():
            figures = measure(command)
            if number:
                results[name].append(figures)
    for name, figures in results.items():
        print(f"{name:28} {median(f[0] for f in figures):6.2f} s  {median(f[1] for f in figures):7.0f} MB")


if __name__ == "__main__":
    main()
