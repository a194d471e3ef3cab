"""How good detections are: VOC and COCO figures, curves, confusion and error analysis on labelled pictures."""

from edgessd.evaluation.detections import detect_all, load_detections, save_detections
from edgessd.evaluation.report import Evaluation, evaluate

__all__ = ["Evaluation", "detect_all", "evaluate", "load_detections", "save_detections"]
