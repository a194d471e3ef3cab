"""Which of the watched classes are there, without the flicker of single frames."""

from __future__ import annotations

from collections.abc import Sequence

from edgessd.apps.camera.pipeline import Result


class Presence:
    """Follows the frames of one source.

    A class is there from the first frame that has it until it was not seen for `hold` seconds. present: by class.
    counts: objects of each class in the latest frame.
    """

    def __init__(self, classes: Sequence[str], *, hold: float) -> None:
        self.present = dict.fromkeys(classes, False)
        self.counts = dict.fromkeys(classes, 0)
        self._hold = hold
        self._seen: dict[str, float] = {}  # class: time of the frame that had it last

    def look(self, result: Result) -> list[str]:
        """Take one frame; return the classes that appeared in it."""
        appeared, now, names = [], result.frame.time, result.detections.names
        for name in self.present:
            self.counts[name] = names.count(name)
            if self.counts[name]:
                self._seen[name] = now
            there = name in self._seen and (self.counts[name] > 0 or now - self._seen[name] < self._hold)
            if there and not self.present[name]:
                appeared.append(name)
            self.present[name] = there
        return appeared
