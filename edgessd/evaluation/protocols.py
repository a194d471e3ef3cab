"""Thresholds under which each metric is customarily measured."""

from __future__ import annotations

from typing import Literal, get_args

from edgessd.detector import Detector

Metric = Literal["voc07", "voc", "coco"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# (score threshold, IoU of the suppression, most detections) of the usual protocols.
PROTOCOLS: dict[Metric, tuple[float, float, int]] = {
    "coco": (0.01, 0.6, 100),
    "voc": (0.01, 0.5, 200),
    "voc07": (0.01, 0.5, 200),
}


def under_protocol(
    detector: Detector,
    metric: Metric,
    *,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detector:
    """Return the detector with the thresholds of a metric's protocol, or with those that are given; classes stay.

    A file of level `nms` has its thresholds inside: it comes back as it is.
    """
    if detector.spec.output.level == "nms":
        return detector
    score, iou, most = PROTOCOLS[metric]
    return detector.with_options(
        score_threshold=score if score_threshold is None else score_threshold,
        iou_threshold=iou if iou_threshold is None else iou_threshold,
        max_detections=most if max_detections is None else max_detections,
    )
