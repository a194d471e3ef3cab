"""Thresholds under which each metric is customarily measured."""

from __future__ import annotations

from edgessd.evaluation.report import Metric

# (score threshold, IoU of the suppression, most detections) of the usual protocols.
PROTOCOLS: dict[Metric, tuple[float, float, int]] = {
    "coco": (0.01, 0.6, 100),
    "voc": (0.01, 0.5, 200),
    "voc07": (0.01, 0.5, 200),
}
