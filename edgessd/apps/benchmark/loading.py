"""From a task to a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgessd.apps.benchmark.peers import is_peer, open_peer
from edgessd.apps.benchmark.records import Task
from edgessd.detector import Detector
from edgessd.errors import OptionError, SpecError
from edgessd.model_file import read_spec
from edgessd.zoo import resolve_model


def load(task: Task, **thresholds: Any) -> Detector:
    """Load the model of a task. Raises OptionError where the engine quietly takes another device than asked."""
    provider = task.provider or "cpu"
    if is_peer(task.model):
        detector = open_peer(task.model, provider, task.threads, thresholds)
    else:
        runtime = task.runtime or None
        detector = Detector.load(
            task.model,
            runtime,
            threads=task.threads,
            labels=labels_for(task.model, task.labels, runtime),
            providers=[provider],
            **thresholds,
        )
    name = detector.runtime.name
    if provider != "cpu" and f"({provider.partition('-')[0]}" not in name:
        detector.close()
        raise OptionError(f"{provider} cannot start here, {name} took its place: check its driver and libraries")
    return detector


def labels_for(model: str | Path, labels: str, runtime: str | None = None) -> str | None:
    """Return the class names for a file that does not describe itself, None for one that does."""
    if not labels:
        return None
    try:
        read_spec(resolve_model(model, runtime))
    except SpecError:
        return labels
    return None
