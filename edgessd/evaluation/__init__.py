"""How good detections are: VOC and COCO figures, curves, confusion and error analysis on labelled pictures."""

from edgessd.evaluation.detections import detect_all
from edgessd.evaluation.report import Evaluation, evaluate
from edgessd.evaluation.stored import load_detections, save_detections

__all__ = ["Evaluation", "detect_all", "evaluate", "load_detections", "save_detections"]
