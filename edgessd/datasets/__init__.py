"""Labelled pictures: Pascal VOC, COCO JSON and YOLO, read without torch."""

from edgessd.datasets.coco import load_coco
from edgessd.datasets.load import load_dataset
from edgessd.datasets.types import LabelledSet, Sample
from edgessd.datasets.voc import load_voc

__all__ = ["LabelledSet", "Sample", "load_coco", "load_dataset", "load_voc"]
