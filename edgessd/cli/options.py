"""Options that several commands share, so that they read and behave the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgessd.detector import Detector

Model = Annotated[str | None, typer.Option("--model", "-m", help="A bundled model's name or a model file.")]
Runtime = Annotated[str | None, typer.Option(help="onnx, litert, openvino or torch; default: the one for the file.")]
Threads = Annotated[int | None, typer.Option(help="Threads of the engine; default: the engine's own choice.")]
Spec = Annotated[Path | None, typer.Option(help="JSON description, for a model file that carries none.")]
Labels = Annotated[
    str | None,
    typer.Option(help="Class names for another tool's TFLite detector: a text file, one name a line, or coco90."),
]
ScoreThreshold = Annotated[float | None, typer.Option(help="Lowest score, 0..1; default: the model's own.")]
IouThreshold = Annotated[float | None, typer.Option(help="Overlap above which the weaker box goes, 0..1.")]
MaxDetections = Annotated[int | None, typer.Option(help="Most objects in one picture.")]
Classes = Annotated[str | None, typer.Option(help="Only these classes, separated by commas.")]


def class_list(classes: str | None) -> list[str] | None:
    """Split a comma-separated list of class names."""
    return None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]


def load_detector(
    model: str | None,
    runtime: str | None,
    threads: int | None,
    spec: Path | None,
    score_threshold: float | None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    classes: str | None = None,
    labels: str | None = None,
) -> Detector:
    """Load a detector from the shared options."""
    return Detector.load(
        model,
        runtime,
        threads,
        spec=spec,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        classes=class_list(classes),
        labels=labels,
    )
