"""The answer for one picture: its arrays, and its one written form."""

from edgessd.results.detections import Detection, Detections

__all__ = ["Detection", "Detections"]
