"""Compare two files of `edgessd detect --json`: same_answers.py HERE THERE. Exit code 1 where they differ.

Kernels of other processors round differently, and a detection near the threshold may come or go: objects that score
0.05 above the lowest score must be there in both, with boxes of IoU 0.9 and scores within 0.06.
"""

import json
import sys
from pathlib import Path


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def missing(these, those, lowest):
    """Objects of `these` well above the lowest score without a partner among `those`."""
    return [
        each
        for each in these
        if each["score"] > lowest + 0.05
        and not any(
            other["name"] == each["name"]
            and iou(other["box"], each["box"]) > 0.9
            and abs(other["score"] - each["score"]) < 0.06
            for other in those
        )
    ]


here, there = (json.loads(Path(name).read_text())["results"] for name in sys.argv[1:3])
scores = [each["score"] for result in here for each in result["objects"]]
assert scores and len(here) == len(there), "nothing was found, or the pictures are not the same"
wrong = []
for ours, theirs in zip(here, there, strict=True):
    wrong += missing(ours["objects"], theirs["objects"], min(scores))
    wrong += missing(theirs["objects"], ours["objects"], min(scores))
    total = sum(theirs["milliseconds"].values())
    names = ", ".join(f"{each['name']} {each['score']:.2f}" for each in theirs["objects"])
    print(f"  {Path(theirs['source']).name}: {names} ({total:.0f} ms)")
print(f"  {len(scores)} objects here, {len(wrong)} without a partner")
sys.exit(bool(wrong))
