"""Mean average precision of a network that is being trained, through the one data path."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object

from edgessd.datasets import LabelledSet
from edgessd.detector import Detector
from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.voc import voc_ap
from edgessd.models.runtime import TorchRuntime
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec


@dataclass(frozen=True)
class Score:
    """AP@0.5, 0..1: means over the classes that have objects (NaN where none has), and of each class."""

    voc07: float
    area: float
    voc07_by_class: dict[str, float]
    area_by_class: dict[str, float]
    unreadable: int = 0


def evaluate_network(model: SSD, spec: ModelSpec, truth: LabelledSet, accelerator: Accelerator | None = None) -> Score:
    """Detect in every picture of `truth` as `edgessd evaluate --metric voc` does; processes share the pictures.

    Pictures that cannot be read count as pictures without detections.
    """
    rank, world = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    device = None if accelerator is None else str(accelerator.device)
    detector = Detector(TorchRuntime((model, spec), device=device))
    rows = range(rank, len(truth.samples), world)
    part = truth.take(rows)
    unreadable: list[str] = []
    found = list(zip(rows, detect_all(detector, part, "voc", skipped=unreadable.append), strict=True))
    if world > 1:
        found = gather_object(found)
    detections = [each for _, each in sorted(found, key=lambda pair: pair[0])]
    by_class = [voc_ap(truth, detections, eleven_points=eleven) for eleven in (True, False)]
    seven, area = by_class
    return Score(_mean(seven.values()), _mean(area.values()), seven, area, len(unreadable))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
