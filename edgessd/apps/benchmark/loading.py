"""From a task to a detector."""

from __future__ import annotations

from typing import Any

from edgessd.apps.benchmark.peers import is_peer, open_peer
from edgessd.apps.benchmark.records import Task
from edgessd.detector import Detector
from edgessd.errors import OptionError


def load(task: Task, **thresholds: Any) -> Detector:
    """Load the model of a task. Raises OptionError where the engine quietly takes another device than asked."""
    provider = task.provider or "cpu"
    if is_peer(task.model):
        detector = open_peer(task.model, provider, task.threads, thresholds)
    else:
        detector = Detector.load(
            task.model, task.runtime or None, threads=task.threads, providers=[provider], **thresholds
        )
    name = detector.runtime.name
    if provider != "cpu" and f"({provider.partition('-')[0]}" not in name:
        detector.close()
        raise OptionError(f"{provider} cannot start here, {name} took its place: check its driver and libraries")
    return detector
