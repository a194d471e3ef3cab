"""What the web view shows, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.frame_log import frame_entry
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.web.hub import Hub
from edgessd.apps.camera.web.metrics import Metric, Sample, exposition


class State:
    """Reads the camera for the web view; every method may be called by any thread."""

    def __init__(self, control: Control, capture: Capture, recorder: Recorder, hub: Hub) -> None:
        self.control, self.capture, self.recorder, self.hub = control, capture, recorder, hub

    def whole(self) -> dict[str, Any]:
        """What the page needs once: everything of `now`, and what can be chosen."""
        engine = self.control.engine
        return {
            **self.now(),
            "source": self.capture.source.name,
            "live": self.capture.source.live,
            "models": list(engine.models),
            "runtimes": engine.runtimes(),
            "classes": engine.info.classes,
        }

    def now(self) -> dict[str, Any]:
        """Speed, settings and messages of the moment."""
        info, control = self.control.engine.info, self.control
        return {
            "fps": round(self.recorder.recent_fps(), 2),
            "age": round(self.recorder.latest_age, 1),
            "frames": self.recorder.frames,
            "dropped": self.capture.dropped,
            "counts": self.recorder.counts,
            "trouble": self.capture.trouble,
            "notice": control.notice,
            "paused": control.paused,
            "numbers": control.numbers,
            "loading": control.engine.changing,
            "model": info.model,
            "title": info.title,
            "precision": info.precision,
            "runtime": info.runtime,
            "threads": info.threads,
            "threshold": info.score_threshold,
            "chosen": info.chosen,
        }

    def message(self, result: Result | None) -> bytes:
        """JSON of one frame, or of a moment without one."""
        frame: Mapping[str, Any] = {}
        if result is not None:
            frame = {"frame": frame_entry(result)}
        return msgspec.json.encode({**self.now(), **frame})

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether frames come, and what to say about it."""
        trouble = self.capture.trouble
        # A device without a camera of its own waits for browsers, and is well.
        well = trouble is None or self.capture.source.name == "browser"
        return well, {"status": "ok" if well else "no frames", "trouble": trouble, "frames": self.recorder.frames}

    def metrics(self) -> str:
        """Text for Prometheus."""
        recorder, info = self.recorder, self.control.engine.info
        stages = recorder.recent_timings()
        facts = {"model": info.title, "precision": info.precision, "runtime": info.runtime}
        return exposition(
            [
                ("edgessd_frames_total", "counter", "Frames that were detected in.", [({}, recorder.frames)]),
                ("edgessd_dropped_total", "counter", "Live frames nobody took in time.", [({}, self.capture.dropped)]),
                ("edgessd_reconnects_total", "counter", "Times the source came back.", [({}, self._reconnects())]),
                ("edgessd_source_up", "gauge", "1 while frames come.", [({}, float(self.capture.trouble is None))]),
                ("edgessd_fps", "gauge", "Frames per second, recent.", [({}, recorder.recent_fps())]),
                ("edgessd_frame_age_seconds", "gauge", "Capture to display.", [({}, recorder.recent_age() / 1e3)]),
                (
                    "edgessd_stage_seconds",
                    "gauge",
                    "Mean time of each stage, recent.",
                    [({"stage": stage}, value / 1e3) for stage, value in stages.items()],
                ),
                (
                    "edgessd_objects_total",
                    "counter",
                    "Detections by class.",
                    [({"class": name}, count) for name, count in dict(recorder.objects).items()],
                ),
                *_counter_metrics(recorder.counts),
                ("edgessd_viewers", "gauge", "Open pictures.", [({}, self.hub.pictures.readers)]),
                ("edgessd_encodings_total", "counter", "Pictures encoded for viewers.", [({}, self.hub.encodings)]),
                ("edgessd_model_info", "gauge", "What runs.", [(facts, 1.0)]),
            ]
        )

    def _reconnects(self) -> int:
        return int(getattr(self.capture.source, "reconnects", 0))


def _counter_metrics(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Metric]:
    """What lines and zones have counted, as metrics."""
    kinds = {
        "crossings_total": ("counter", "Objects that crossed a line.", "line", ("in", "out")),
        "zone_entered_total": ("counter", "Objects that came into a zone.", "zone", ("entered",)),
        "zone_objects": ("gauge", "Objects in a zone now.", "zone", ("inside",)),
    }
    for metric, (kind, text, place, keys) in kinds.items():
        samples: list[Sample] = [
            ({place: name, **({"direction": key} if len(keys) > 1 else {})}, float(count[key]))
            for name, count in counts.items()
            for key in keys
            if key in count
        ]
        if samples:
            yield f"edgessd_{metric}", kind, text, samples
