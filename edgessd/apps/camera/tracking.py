"""Ids that stay with an object from frame to frame (ByteTrack of the package `trackers`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgessd.apps.camera.extras import import_extra
from edgessd.apps.camera.pipeline import Result

_SURE = 0.1  # above the score threshold: detections that begin a track; weaker ones only continue one


class Tracker:
    """Fills in `Result.ids`. Objects are told apart by place and movement, whatever their class.

    score_threshold: of the detector at the start. fps: of the source. An id ends when its object was not seen for a
    second. Raises DependencyError where the extra `track` is not installed.
    """

    def __init__(self, score_threshold: float, fps: float) -> None:
        self._supervision = import_extra("supervision")
        sure = min(score_threshold + _SURE, 0.9)
        self._tracker: Any = import_extra("trackers").ByteTrackTracker(
            frame_rate=fps,
            lost_track_buffer=30,
            track_activation_threshold=sure,
            high_conf_det_threshold=sure,
            minimum_consecutive_frames=2,
        )

    def follow(self, result: Result) -> None:
        """Give each detection its id, or None where it belongs to no track yet."""
        found = result.detections
        ids: list[int | None] = [None] * len(found)
        tracked = self._tracker.update(
            self._supervision.Detections(
                xyxy=found.boxes,
                confidence=found.scores,
                class_id=found.labels,
                data={"place": np.arange(len(found))},
            ),
            timestamp=result.frame.time,
        )
        for place, number in zip(tracked.data.get("place", ()), tracked.tracker_id, strict=True):
            if number >= 0:
                ids[int(place)] = int(number)
        result.ids = ids
