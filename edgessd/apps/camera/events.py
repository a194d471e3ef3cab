"""Noticing that an object of a class has appeared, and telling whoever wants to know."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from edgessd.apps.camera.frame_log import told_time
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.worker import Worker
from edgessd.errors import printable
from edgessd.io.images import Image

_QUEUE = 32  # events that wait for an action


@dataclass(frozen=True)
class Event:
    """An object of a class has appeared.

    time: of the frame, UTC; in a file, seconds since its beginning. box: x1, y1, x2, y2 in pixels. count: how many
    of the class are in the frame.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    count: int
    frame: int
    time: str | float
    source: str
    model: str


class Watch:
    """Decides what is an event: a class is there that was not seen for `cooldown` seconds before.

    classes: those that are watched.
    """

    def __init__(self, classes: Sequence[str], *, cooldown: float, source: str) -> None:
        self._classes, self._cooldown, self._source = classes, cooldown, source
        self._seen: dict[str, float] = {}  # class: time of the frame that had it last

    def look(self, result: Result, model: str) -> list[Event]:
        """Return the events of one frame."""
        events, now = [], result.frame.time
        for name in self._classes:
            found = [each for each in result.detections if each.name == name]
            if not found:
                continue
            last = self._seen.get(name)
            self._seen[name] = now
            if last is not None and now - last < self._cooldown:
                continue
            best = found[0]
            when = told_time(result.frame)
            box = tuple(round(value, 1) for value in best.box)
            events.append(
                Event(name, round(best.score, 4), box, len(found), result.frame.index, when, self._source, model)  # type: ignore[arg-type]
            )
        return events


class Action(Protocol):
    """Does something about an event. It may take its time: it runs in a thread of its own."""

    name: str

    def act(self, event: dict[str, Any]) -> None:
        """Do it. What it raises is reported and counted, and does not stop later events."""

    def close(self) -> None:
        """Free what is held."""


class EventOutput:
    """An output that starts the actions of each event. A slow or failing action costs events, never frames.

    triggers: called at once (clip recording). model: the name of the model that runs.
    """

    pictures = False

    def __init__(
        self,
        watch: Watch,
        actions: Sequence[Action],
        *,
        model: Callable[[], str],
        triggers: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        self.events = 0
        self.failures: dict[str, int] = {}
        self._watch, self._model, self._triggers = watch, model, triggers
        self._workers = [
            (action, Worker(action.name, self._acting(action), size=_QUEUE, lossy=True)) for action in actions
        ]

    def _acting(self, action: Action) -> Callable[[dict[str, Any]], None]:
        def act(event: dict[str, Any]) -> None:
            try:
                action.act(event)
            except Exception as error:  # one failure must not end the thread
                count = self.failures[action.name] = self.failures.get(action.name, 0) + 1
                if count <= 3 or count % 100 == 0:
                    print(f"{action.name} failed ({count}): {printable(error, 400)}", file=sys.stderr, flush=True)

        return act

    def add(self, result: Result, picture: Image) -> None:
        """Look at one frame."""
        for event in self._watch.look(result, self._model()):
            self.events += 1
            for trigger in self._triggers:
                trigger(event)
            for _, worker in self._workers:
                worker.put(asdict(event))

    def idle(self, picture: Image | None) -> None:
        """Nothing to do."""

    def summary(self) -> dict[str, Any]:
        """Events, and per action how many failed and how many were lost because it was too slow."""
        return {
            "events": self.events,
            "failed": dict(self.failures),
            "lost": {action.name: worker.dropped for action, worker in self._workers if worker.dropped},
        }

    def close(self) -> None:
        """Give the actions some seconds for what waits."""
        for action, worker in self._workers:
            worker.close(timeout=8.0)
            action.close()
