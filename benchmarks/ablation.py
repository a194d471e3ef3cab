"""The paper's experiments (Liu et al. 2016, section 3.2) on a data set and a budget of one's own.

    python benchmarks/ablation.py --data ../shared/data/bccd --split train --val-split val \
        --backbone timm:mobilenetv3_small_050 --size 300 --epochs 3 --only augmentation,ratios

Trains one network for each switch, and writes `ablation.md` and `ablation.json`: our mAP beside the paper's. The
paper's figures are the paper's (VOC2007 test, SSD300 on VGG-16, its tables 2 and 3); a small run on other data
shows that the switches work, and at best in which direction they point.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgessd.errors import OptionError
from edgessd.models import load_checkpoint
from edgessd.training import make_config, train

NO_AUGMENTATION = {"augment": "flip"}


@dataclass(frozen=True)
class Run:
    """One line of the table: what it is, the settings that make it, and the paper's mAP and number of boxes."""

    group: str
    name: str
    paper: float | None
    boxes: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


RUNS = (
    # Table 2: effects of design choices, SSD300 trained on VOC 2007 and 2012; 77.2 and 74.3 are table 6's.
    Run("base", "all of it", 77.2, 8732),
    Run("augmentation", "without the paper's augmentation (flip only)", 65.5, settings=NO_AUGMENTATION),
    Run("augmentation", "without expansion (the first version's augmentation)", 74.3, settings={"expand": 0.0}),
    Run("augmentation", "without photometric distortion", None, settings={"photometric": 0.0}),
    Run("augmentation", "without crops", None, settings={"crop": 0.0}),
    Run("ratios", "aspect ratios 1, 2, 1/2", 73.7, 7760, {"ratios": "1,2"}),
    Run("ratios", "aspect ratio 1", 71.6, 3880, {"ratios": "1"}),
    Run("atrous", "full VGG-16 instead of atrous", 74.2, settings={"backbone_options": {"atrous": False}}),
    # Table 3: number of prediction layers, and boundary boxes left out.
    *(
        Run("layers", f"{count} prediction layers", paper, boxes, {"layers": count})
        for count, paper, boxes in ((5, 74.6, 8764), (4, 73.8, 8942), (3, 70.7, 9864), (2, 64.2, 9025))
    ),
    *(
        Run(
            "boundary",
            f"{count} prediction layers, boundary boxes left out",
            paper,
            None,
            {"layers": count, "exclude_boundary": True},
        )
        for count, paper in ((6, 63.4), (5, 63.1), (4, 68.4), (3, 69.2), (2, 64.4))
    ),
    Run("loss", "focal loss", None, settings={"loss": "focal"}),
    Run(
        "multibox",
        "MultiBox: class-agnostic, L2, best priors only",
        None,
        settings={"loss": "multibox", "class_agnostic": True},
    ),
)
GROUPS = tuple(dict.fromkeys(run.group for run in RUNS))
NOTES = """
The paper's column is mAP on VOC2007 test (tables 2 and 3 of Liu et al. 2016, and table 6 for expansion). Its
tables 2 and 3 were made without expansion: compare their figures with 74.3, not with 77.2. One prediction layer
(62.4 in the paper) is not run: every network here has at least its backbone's levels. MultiBox's line is AP of
`object`, not of the classes, and not comparable with the others.
"""


def main() -> None:
    """Run the chosen groups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--val-split", default="val")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups: {', '.join(GROUPS)}")
    parser.add_argument("--head", default="ssd")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--init", default="")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    options = parser.parse_args()
    wanted = options.only.split(",")
    unknown = [group for group in wanted if group not in GROUPS]
    if unknown:
        raise SystemExit(f"unknown group {unknown[0]}: there are {', '.join(GROUPS)}")
    shared = {key: value for key, value in vars(options).items() if key not in ("only", "out")}
    lines = []
    options.out.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(RUNS):
        if run.group in wanted:
            lines.append(measure(run, shared, options.out / f"{number:02}_{run.group}"))
            write(options.out, lines, shared)


def measure(run: Run, shared: dict[str, Any], out: Path) -> dict[str, Any]:
    """Train one network; a switch that this network does not have is noted, not an error of the whole."""
    print(f"--- {run.group}: {run.name}")
    line: dict[str, Any] = {"group": run.group, "name": run.name, "paper": run.paper, "paper_boxes": run.boxes}
    try:
        values = {
            **shared,
            **run.settings,
            "out": str(out),
            "eval_every": shared["epochs"],
            "ema": 0.9,
            "metric": "voc07",
        }
        result = train(make_config(**values))
    except OptionError as error:
        return {**line, "note": str(error)}
    boxes = load_checkpoint(result.last)[1].priors.count
    return {**line, "mAP": result.metric, "boxes": boxes}


def write(folder: Path, lines: list[dict[str, Any]], shared: dict[str, Any]) -> None:
    """Write the table after every run, so that nothing is lost when the budget ends."""
    table = ["| experiment | switch | boxes | VOC07 mAP here | the paper's | its boxes |", "|---|---|---|---|---|---|"]
    for line in lines:
        here = f"{100 * line['mAP']:.1f}" if line.get("mAP") is not None else line.get("note", "-")
        cells = [
            line["group"],
            line["name"],
            line.get("boxes", ""),
            here,
            line["paper"] or "-",
            line["paper_boxes"] or "-",
        ]
        table.append("| " + " | ".join(map(str, cells)) + " |")
    what = f"{shared['head']} on {shared['backbone']}, {shared['size']} pixels, {shared['epochs']} epochs"
    (folder / "ablation.md").write_text(f"# Ablation: {what}\n\n" + "\n".join(table) + "\n" + NOTES)
    (folder / "ablation.json").write_text(json.dumps({"settings": shared, "runs": lines}, indent=1) + "\n")
    print("\n".join(table[-1:]))


if __name__ == "__main__":
    main()
