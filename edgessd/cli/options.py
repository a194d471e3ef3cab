"""Options that several commands share, so that they read and behave the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgessd.detector import Detector
from edgessd.options import shared

Model = Annotated[str | None, typer.Option("--model", "-m", help=shared.MODEL.help)]
Runtime = Annotated[str | None, typer.Option(help=shared.RUNTIME.help)]
Threads = Annotated[int | None, typer.Option(help=shared.THREADS.help)]
Spec = Annotated[Path | None, typer.Option(help=shared.SPEC.help)]
Labels = Annotated[str | None, typer.Option(help=shared.LABELS.help)]
ScoreThreshold = Annotated[float | None, typer.Option(help=shared.SCORE_THRESHOLD.help)]
IouThreshold = Annotated[float | None, typer.Option(help="Overlap above which the weaker box goes, 0..1.")]
MaxDetections = Annotated[int | None, typer.Option(help="Most objects in one picture.")]
Classes = Annotated[str | None, typer.Option(metavar=shared.CLASSES.metavar, help=shared.CLASSES.help)]


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
