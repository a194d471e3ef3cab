"""The camera in Home Assistant: an output that says over MQTT what is there."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.drawing import OwnDrawing
from edgessd.apps.camera.home_assistant import OFF, OFFLINE, ON, ONLINE, PREFIX, Topics, discovery
from edgessd.apps.camera.jpeg import encode_jpeg
from edgessd.apps.camera.mqtt import MqttLink
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.presence import Presence
from edgessd.apps.camera.worker import Worker
from edgessd.io.images import Image

_COUNT_PAUSE = 1.0  # seconds between two counts
_PICTURE_PAUSE = 10.0  # seconds between two pictures while the same classes are there


class HomeAssistantOutput:
    """Announces the camera by MQTT discovery and keeps its state at the broker. It never waits for the broker.

    classes: those that get a binary sensor. hold: seconds after which a class that is not seen is away.
    model: the name of the model that runs. prefix: Home Assistant's discovery prefix.

    `offline` is said while the source is lost, at the end, and as last will. The link must not have been started.
    """

    pictures = False  # it draws the few that it needs

    def __init__(
        self,
        link: MqttLink,
        classes: Sequence[str],
        capture: Capture,
        *,
        hold: float,
        model: Callable[[], str],
        prefix: str = PREFIX,
    ) -> None:
        self._link, self._capture, self._prefix = link, capture, prefix
        self._topics = Topics(link.address.topic)
        self._presence = Presence(classes, hold=hold)
        self._counted = self._pictured = float("-inf")
        self._run, self._others = secrets.token_hex(8), {""}
        self._online = False
        self._configs = discovery(self._topics, classes, model=model(), prefix=prefix)
        self._worker: Worker[Result] = Worker("picture", self._picture, size=1, lossy=True)
        for topic, content in self._configs.items():
            link.keep(topic, json.dumps(content))
        link.last_will(self._topics.availability, OFFLINE)
        link.keep(self._topics.availability, OFFLINE)  # until there is a frame
        link.greet(self._topics.run, self._run)
        self._listen()

    def _listen(self) -> None:
        listen, topics, prefix = self._link.listen, self._topics, self._prefix
        listen(f"{prefix}/status", self._heard_birth)
        listen(topics.availability, self._heard_availability)
        listen(topics.run, self._heard_run)
        listen(f"{prefix}/binary_sensor/{topics.device}/+/config", self._heard_old)

    def _heard_birth(self, topic: str, payload: bytes, retained: bool) -> None:
        """Home Assistant has started and knows nothing of what is not retained."""
        if payload == ONLINE.encode():
            self._link.again()

    def _heard_availability(self, topic: str, payload: bytes, retained: bool) -> None:
        """The last will of a connection that we have replaced comes late and must not stay."""
        if self._online and payload == OFFLINE.encode():
            self._link.again(topic)

    def _heard_run(self, topic: str, payload: bytes, retained: bool) -> None:
        other = payload[:32].decode(errors="replace")
        if other == self._run or other in self._others or len(self._others) > 9:
            return
        self._others.add(other)
        self._link.report("another program publishes to this topic as well: give each camera its own")
        self._link.tell(topic, self._run)

    def _heard_old(self, topic: str, payload: bytes, retained: bool) -> None:
        """A class that an earlier run watched and this one does not goes from Home Assistant."""
        if retained and payload and topic not in self._configs:
            self._link.tell(topic, "", retain=True)
            self._link.tell(f"{self._topics.base}/class/{topic.split('/')[-2]}", "", retain=True)

    def add(self, result: Result, picture: Image) -> None:
        """Say what one frame has changed."""
        before, presence, now = dict(self._presence.present), self._presence, time.monotonic()
        appeared = presence.look(result)
        for name, there in presence.present.items():
            if there != before[name] or not self._online:
                self._link.keep(self._topics.of(name), ON if there else OFF)
        if not self._online or now - self._counted >= _COUNT_PAUSE:
            self._counted = now
            self._count()
        if appeared or (any(presence.counts.values()) and now - self._pictured >= _PICTURE_PAUSE):
            self._pictured = now
            self._worker.put(result)
        self._set_online(True)

    def _count(self) -> None:
        self._link.keep(self._topics.count, str(sum(self._presence.counts.values())))
        self._link.keep(self._topics.counts, json.dumps(self._presence.counts))

    def _picture(self, result: Result) -> None:
        image = result.frame.image
        if not result.drawn:
            image = OwnDrawing().draw(image.copy(), result, ())
        self._link.keep(self._topics.picture, encode_jpeg(image))

    def _set_online(self, online: bool) -> None:
        if online != self._online:
            self._online = online
            self._link.keep(self._topics.availability, ONLINE if online else OFFLINE)

    def idle(self, picture: Image | None) -> None:
        """Say so when the source is lost."""
        if self._capture.trouble is not None:
            self._set_online(False)

    def close(self) -> None:
        """Say the last count, and that the camera is gone."""
        self._worker.close()
        self._count()
        self._set_online(False)
