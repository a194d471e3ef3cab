"""Write the measured part of a model card: between the marks of docs/models/NAME.md, and the pictures beside it.

    python recipes/card.py edgessd-coco --metric coco --data ANNOTATIONS.json [--split LIST] \
        --file "float checkpoint=runs/coco/float.safetensors" --file "int8 ONNX=edgessd-coco.onnx" ... \
        [--subset "46 unseen pictures=LIST"]

The last --file is shown in full: AP by class, precision-recall curves, kinds of error, sensitivity to size and shape,
and what it does with the bundled photos when they are made hard (small, dark, turned, blurred).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd import Detections, Detector, zoo
from edgessd._cv2 import cv2
from edgessd.apps.benchmark.tables import markdown_table
from edgessd.datasets.load import load_dataset
from edgessd.evaluation import Evaluation, evaluate
from edgessd.evaluation.plots import write_plots
from edgessd.io.files import write_bytes_atomic, write_text_atomic
from edgessd.io.images import load_image

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PLOTS = {
    "precision_recall": "Precision and recall at IoU 0.5",
    "errors": "Kinds of error (Hoiem et al. 2012), as in the paper's figure 3",
    "sensitivity": "Sensitivity to object size and shape, as in the paper's figure 4",
}
Image = NDArray[np.uint8]
SIDE = 320


def measured(file: str, args: argparse.Namespace, split: str | None) -> Evaluation:
    """All figures of one file on one set."""
    truth = load_dataset(args.data, split, images=args.images, classes=args.classes)
    with Detector.load(file) as detector:
        return evaluate(truth, detector, args.metric)


def shown(figures: dict[str, float]) -> dict[str, float]:
    """The figures of a table's row."""
    return {name: round(value, 2) for name, value in figures.items() if not name.startswith("AR")}


def by_class(result: Evaluation, columns: int = 4) -> str:
    """AP of every class, in as many columns as fit."""
    each = sorted(result.classes, key=lambda each: -np.nan_to_num(each.ap, nan=-1))
    cells = [f"{one.name} ({one.objects}) | {one.ap:.1f}" for one in each if one.objects]
    height = -(-len(cells) // columns)
    columns = -(-len(cells) // height)
    cells += [" | "] * (height * columns - len(cells))
    lines = ["| class (objects) | AP " * columns + "|", "|---|---:" * columns + "|"]
    for row in range(height):
        lines.append("| " + " | ".join(cells[k] for k in range(row, len(cells), height)) + " |")
    return "\n".join(lines)


def hardened(picture: Image) -> dict[str, Image]:
    """The same photo as it is, and made hard in four ways."""
    height, width = picture.shape[:2]
    small = np.full_like(picture, 114)
    little = cv2.resize(picture, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    small[height // 2 : height // 2 + little.shape[0], width // 2 : width // 2 + little.shape[1]] = little
    return {
        "as it is": picture,
        "an eighth of the size": small,
        "a tenth of the light": (picture * 0.1).astype(np.uint8),
        "upside down": np.ascontiguousarray(picture[::-1, ::-1]),
        "blurred": cv2.GaussianBlur(picture, (0, 0), width / 60).astype(np.uint8),
    }


def weaknesses(file: str, path: Path) -> str:
    """Draw what is found in hardened photos, and say it in a table."""
    rows: list[dict[str, str]] = []
    sheet: list[Image] = []
    with Detector.load(file) as detector:
        for photo in zoo.photos():
            tiles, row = [], {"photo": photo.stem}
            for name, picture in hardened(load_image(photo)).items():
                found = detector(picture)
                row[name] = in_words(found)
                drawn = found.draw(picture)
                tiles.append(cv2.resize(drawn, (SIDE, SIDE * picture.shape[0] // picture.shape[1])))
            height = max(tile.shape[0] for tile in tiles)
            padded = [cv2.copyMakeBorder(t, 0, height - t.shape[0], 0, 0, cv2.BORDER_CONSTANT) for t in tiles]
            sheet.append(np.hstack(padded).astype(np.uint8))
            rows.append(row)
    coded = cv2.imencode(".jpg", np.vstack(sheet), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    write_bytes_atomic(path, coded.tobytes())
    return markdown_table(rows)


def in_words(found: Detections) -> str:
    """Names and scores, best first."""
    return (
        ", ".join(f"{found.classes[k]} {s:.2f}" for k, s in zip(found.labels, found.scores, strict=True)) or "nothing"
    )


def text(args: argparse.Namespace, folder: Path) -> str:
    """The measured part."""
    named = dict(each.rpartition("=")[::2] for each in args.file)
    rows: list[dict[str, Any]] = []
    result = None
    for name, file in named.items():
        result = measured(file, args, args.split)
        rows.append({"file": name, "MB": round(Path(file).stat().st_size / 1e6, 2), **shown(result.figures)})
    assert result is not None
    last_name, last = list(named.items())[-1]
    parts = [f"### {args.metric.upper()} metric on {result.images} pictures", markdown_table(rows)]
    for each in args.subset:
        name, _, split = each.rpartition("=")
        rows = [{"file": key, **shown(measured(file, args, split).figures)} for key, file in named.items()]
        parts += [f"### The same on {name}", markdown_table(rows)]
    parts += [f"### By class ({last_name})", by_class(result)]
    for path in write_plots(result, folder):
        if path.stem in PLOTS:
            kept = folder / f"{args.name}-{path.stem}.png"
            path.replace(kept)
            parts.append(f"![{PLOTS[path.stem]}](images/{kept.name})\n\n*{PLOTS[path.stem]}.*")
        else:
            path.unlink()
    table = weaknesses(last, folder / f"{args.name}-hard.jpg")
    parts += ["### Hard pictures", f"![The bundled photos, made hard](images/{args.name}-hard.jpg)", table]
    return "\n\n".join(parts)


def main() -> None:
    """Measure, and put the figures into the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--file", action="append", required=True, metavar="WHAT=FILE")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images")
    parser.add_argument("--split")
    parser.add_argument("--classes", type=lambda names: names.split(","))
    parser.add_argument("--metric", default="coco", choices=("coco", "voc07", "voc"))
    parser.add_argument("--subset", action="append", default=[], metavar="WHAT=SPLIT")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs/models")
    args = parser.parse_args()
    card: Path = args.docs / f"{args.name}.md"
    before = card.read_text()
    if BEGIN not in before or END not in before:
        raise SystemExit(f"{card} has no marks {BEGIN} and {END}")
    folder: Path = args.docs / "images"
    folder.mkdir(exist_ok=True)
    head, tail = before.partition(BEGIN)[0], before.partition(END)[2]
    write_text_atomic(card, f"{head}{BEGIN}\n\n{text(args, folder)}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
