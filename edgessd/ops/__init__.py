"""Numerics of SSD in numpy and OpenCV: priors, boxes, scores, NMS, pre- and postprocessing."""
