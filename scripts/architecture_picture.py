"""Draw docs/images/architecture.svg: the packages of edgessd, and the line that torch does not cross.

    python scripts/architecture_picture.py

What lies above and below the line is read from the import-linter contracts in pyproject.toml, so that the picture
cannot say anything else than the check does; a package that is missing here is an error.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images" / "architecture.svg"

WIDTH, MARGIN, GAP = 960, 24, 12
INK, SOFT, PAPER = "#1f2d33", "#5c6d74", "#ffffff"
COLORS = {"programs": "#fff3d6", "core": "#d9f0ec", "shared": "#e8eef1", "workshop": "#e6e2f5"}

# Rows from top to bottom: kind, and for each room its name and what it does, in two short lines.
ROWS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "programs",
        (
            ("cli", "the edgessd command:", "thin calls"),
            ("apps", "camera, benchmark, bundle, bulk:", "programs over Detector"),
        ),
    ),
    (
        "core",
        (
            ("detector", "the line above,", "and nothing else"),
            ("validation", "a model file", "against its contract"),
            ("evaluation", "VOC and COCO figures,", "plots, errors"),
        ),
    ),
    (
        "core",
        (
            ("io", "pictures, videos,", "addresses, files"),
            ("draw", "boxes, labels,", "sheets of priors"),
            ("ops", "priors, preprocess,", "decode, suppression"),
            ("runtimes", "one file per engine:", "onnx, litert, ..."),
            ("datasets", "VOC, COCO, YOLO,", "doctor"),
            ("zoo", "bundled models,", "downloads"),
        ),
    ),
    (
        "shared",
        (
            ("spec", "what a model file", "says about itself"),
            ("results", "Detections", ""),
            ("model_file", "reads and checks", "model files"),
            ("classes", "names, COCO's ids", ""),
            ("options", "declared once,", "for command and TOML"),
            ("errors", "one line each,", "with the way out"),
            ("masking", "what may be shown", "of an address"),
        ),
    ),
    (
        "workshop",
        (
            ("backbones", "vgg16, timm,", "torchvision"),
            ("models", "heads, extras,", "presets, weights"),
            ("training", "matching, loss,", "the loop"),
            ("quantization", "calibrate, round,", "train with rounding"),
            ("export", "onnx, tflite,", "openvino; verify"),
        ),
    ),
)
STAGES = ("picture", "io", "preprocess", "Runtime.run", "postprocess", "Detections")


def layers() -> tuple[set[str], set[str]]:
    """Return the packages above the line and below it, from the contract about torch."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in settings["tool"]["importlinter"]["contracts"] if "torch" in each["name"])
    above = {name.removeprefix("edgessd.") for name in contract["source_modules"]}
    below = {name.removeprefix("edgessd.") for name in contract["forbidden_modules"] if name.startswith("edgessd.")}
    return above, below


def check() -> None:
    """Raise ValueError where the picture would not show what is there."""
    above, below = layers()
    packages = {
        path.stem
        for path in (ROOT / "edgessd").iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    drawn = {name: kind for kind, rooms in ROWS for name, _, _ in rooms}
    if set(drawn) != packages:
        raise ValueError(f"packages and picture differ: {sorted(set(drawn) ^ packages)}")
    for name, kind in drawn.items():
        if name not in (below if kind == "workshop" else above):
            raise ValueError(f"{name} is drawn on the wrong side of the line")


def picture() -> str:
    """Return the SVG."""
    check()
    parts: list[str] = []
    y = 20.0
    parts.append(_text(MARGIN, y + 12, "Every answer goes through this line", 15, weight="bold"))
    y = _stages(parts, y + 26)
    for kind, rooms in ROWS:
        if kind == "workshop":
            y = _line(parts, y)
        y = _row(parts, y, kind, rooms)
    height = y + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" font-family="system-ui, sans-serif" role="img">\n'
        "<title>The packages of edgessd and the line that torch does not cross</title>\n"
        f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER}"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _stages(parts: list[str], y: float) -> float:
    """The way from a picture to detections, with arrows; the spec feeds the two outer stages."""
    arrow = 28
    width = (WIDTH - 2 * MARGIN - arrow * (len(STAGES) - 1)) / len(STAGES)
    for number, name in enumerate(STAGES):
        x = MARGIN + number * (width + arrow)
        ends = number in (0, len(STAGES) - 1)
        parts.append(_box(x, y, width, 40, PAPER if ends else COLORS["core"]))
        parts.append(_text(x + width / 2, y + 25, name, 15, anchor="middle"))
        if number:
            parts.append(
                f'<path d="M{x - arrow + 4:g} {y + 20:g} H{x - 6:g} m-6 -5 l6 5 l-6 5" fill="none" stroke="{INK}" '
                'stroke-width="1.6"/>'
            )
    parts.append(
        _text(MARGIN, y + 62, "preprocess and postprocess follow the spec that lies inside the model file", 13, SOFT)
    )
    return y + 84


def _row(parts: list[str], y: float, kind: str, rooms: tuple[tuple[str, str, str], ...]) -> float:
    width = (WIDTH - 2 * MARGIN - GAP * (len(rooms) - 1)) / len(rooms)
    for number, (name, *lines) in enumerate(rooms):
        x = MARGIN + number * (width + GAP)
        parts.append(_box(x, y, width, 76, COLORS[kind]))
        parts.append(_text(x + 12, y + 24, name, 16, weight="bold"))
        for row, line in enumerate(line for line in lines if line):
            parts.append(_text(x + 12, y + 44 + 17 * row, line, 13, SOFT))
    return y + 76 + GAP


def _line(parts: list[str], y: float) -> float:
    """The border, and the one thing that crosses it."""
    parts.append(
        f'<path d="M{MARGIN} {y + 22:g} H{WIDTH - MARGIN}" stroke="#c0392b" stroke-width="2" stroke-dasharray="7 5"/>'
    )
    parts.append(_text(MARGIN, y + 14, "above: numpy, OpenCV and one engine, never torch", 13, "#c0392b"))
    parts.append(_text(MARGIN, y + 40, "below: the workshop, with torch", 13, "#c0392b"))
    width = 260.0
    x = WIDTH - MARGIN - width
    parts.append(_box(x, y + 4, width, 36, PAPER))
    parts.append(_text(x + width / 2, y + 27, "the model file crosses it", 14, anchor="middle", weight="bold"))
    return y + 54


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{fill}" stroke="{SOFT}" '
        'stroke-width="1"/>'
    )


def _text(
    x: float, y: float, text: str, size: int, color: str = INK, *, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
