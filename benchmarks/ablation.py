"""The paper's experiments (Liu et al. 2016, section 3.2) on a data set and a budget of one's own.

    python benchmarks/ablation.py --data VOC2007 --split trainval --val-split test --epochs 120
    python benchmarks/ablation.py --data bccd --split few.txt --val-split few.txt --epochs 1 \
        --head ssd --backbone timm:mobilenetv3_small_050 --only augmentation,ratios

Trains one network for each switch, and writes `ablation.md` and `ablation.json`: our mAP beside the paper's. The
paper's figures are those of its tables 2, 3 and 6 (arXiv 1512.02325v5; SSD300 on VGG-16, trained on VOC 2007 and 2012
trainval, VOC2007 test). A small run on other data shows that the switches work, not more.
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
    """One line of the table: what it is, and the settings that make it.

    paper: the paper's mAP; source: where it stands in arXiv 1512.02325v5; boxes: its number of boxes, where it gives
    one (table 3).
    """

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    paper: float | None = None
    source: str = ""
    boxes: int | None = None


# Table 3, with 6 to 2 prediction layers: mAP with boundary boxes and without, number of boxes.
TABLE3 = {
    6: (74.3, 63.4, 8732),
    5: (74.6, 63.1, 8764),
    4: (73.8, 68.4, 8942),
    3: (70.7, 69.2, 9864),
    2: (64.2, 64.4, 9025),
}

RUNS = (
    Run("base", "all of it", {}, 77.2, "table 6, SSD300*"),
    Run("augmentation", "without expansion", {"expand": 0.0}, 74.3, "tables 2 and 6"),
    Run("augmentation", "flip only", NO_AUGMENTATION, 65.5, "table 2"),
    Run("augmentation", "without photometric distortion", {"photometric": 0.0}),
    Run("augmentation", "without crops", {"crop": 0.0}),
    Run("ratios", "aspect ratios 1, 2, 1/2", {"ratios": "1,2"}, 73.7, "table 2"),
    Run("ratios", "aspect ratio 1", {"ratios": "1"}, 71.6, "table 2"),
    Run("atrous", "full VGG-16 instead of atrous", {"backbone_options": {"atrous": False}}, 74.2, "table 2"),
    *(
        Run("layers", f"{count} prediction layers", {"layers": count}, with_boundary, "table 3", boxes)
        for count, (with_boundary, _, boxes) in TABLE3.items()
        if count < 6
    ),
    *(
        Run(
            "boundary",
            f"{count} prediction layers, boundary boxes left out",
            {"layers": count, "exclude_boundary": True},
            without,
            "table 3",
        )
        for count, (_, without, _) in TABLE3.items()
    ),
    Run("loss", "focal loss", {"loss": "focal"}),
    Run("loss", "one sigmoid per class, mined", {"loss": "sigmoid"}),
    Run("multibox", "MultiBox: class-agnostic, L2, best priors only", {"loss": "multibox", "class_agnostic": True}),
    Run("multi-scale", "each batch of another size", {"multi_scale": "{sizes}"}),
)
GROUPS = tuple(dict.fromkeys(run.group for run in RUNS))
NOTES = """
The paper's column is mAP on VOC2007 test from arXiv 1512.02325v5, and the table it stands in; a dash where the paper
has no such experiment. Its tables 2 and 3 were made without expansion: compare their figures with 74.3, not with 77.2.
One prediction layer (62.4, and 64.0 without boundary boxes) is not run: every network here has at least its backbone's
levels. MultiBox's line is AP of `object`, not of the classes, and not comparable with the others.
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
    parser.add_argument("--workers", type=int, default=None)
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
    line: dict[str, Any] = {"group": run.group, "name": run.name, "paper": run.paper, "source": run.source}
    line["paper_boxes"] = run.boxes
    size = shared["size"]
    settings = {
        name: value.format(sizes=f"{size},{size + 32}") if name == "multi_scale" else value
        for name, value in run.settings.items()
    }
    try:
        values = {
            **shared,
            **settings,
            "out": str(out),
            "eval_every": shared["epochs"],
            "ema": 0.9,
            "metric": "voc07",
        }
        result = train(make_config(**values))
    except OptionError as error:
        return {**line, "note": str(error)}
    boxes = load_checkpoint(result.last)[1].priors.count
    return {**line, "mAP": result.metric, "loss": result.history[-1]["loss"], "boxes": boxes}


def write(folder: Path, lines: list[dict[str, Any]], shared: dict[str, Any]) -> None:
    """Write the table after every run, so that nothing is lost when the budget ends."""
    table = [
        "| experiment | switch | boxes | last loss here | VOC07 mAP here | the paper's | source | its boxes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        here = f"{100 * line['mAP']:.1f}" if line.get("mAP") is not None else line.get("note", "-")
        cells = [
            line["group"],
            line["name"],
            line.get("boxes", ""),
            f"{line['loss']:.3f}" if "loss" in line else "",
            here,
            line["paper"] or "-",
            line["source"] or "-",
            line["paper_boxes"] or "-",
        ]
        table.append("| " + " | ".join(map(str, cells)) + " |")
    what = f"{shared['head']} on {shared['backbone']}, {shared['size']} pixels, {shared['epochs']} epochs"
    (folder / "ablation.md").write_text(f"# Ablation: {what}\n\n" + "\n".join(table) + "\n" + NOTES)
    (folder / "ablation.json").write_text(json.dumps({"settings": shared, "runs": lines}, indent=1) + "\n")
    print("\n".join(table[-1:]))


if __name__ == "__main__":
    main()
