"""How good the detections are: VOC and COCO metrics on labelled pictures, without torch."""
