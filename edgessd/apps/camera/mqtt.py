"""One connection to an MQTT broker, which nothing here ever waits for."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from edgessd.apps.camera.mqtt_address import MqttAddress
from edgessd.errors import InputError, missing_extra, printable
from edgessd.io.remote import failure

EVENTS = 100
"""Messages of `MqttLink.send` that wait for a broker that is away."""
_KEEPALIVE = 30  # seconds; a broker notices a dead camera after one and a half times as long
_GOODBYE = 5.0  # seconds that `close` gives to what is on its way
_LOGIN = "check user and password (EDGESSD_MQTT_PASSWORD)"
_REFUSALS = {  # by paho's names of MQTT's reason codes
    "Not authorized": f"not authorised: {_LOGIN}",
    "Bad user name or password": f"wrong user or password: {_LOGIN}",
    "Bad authentication method": f"it wants another kind of login: {_LOGIN}",
    "Banned": "this client is banned there",
    "Unsupported protocol version": "it does not speak MQTT 3.1.1",
    "Client identifier not valid": "it does not take the name of this client",
    "Server unavailable": "it is not ready",
    "Server busy": "it is busy",
}
Handler = Callable[[str, bytes, bool], None]


class MqttLink:
    """A connection that is made in the background, and made again with growing pauses when it is lost.

    `send` is for events: QoS 1; EVENTS of them wait for a broker that is away. `keep` is for what stands: the latest
    value of each topic is published retained, when it changes and again at every new connection, so that
    neither a broker that forgets nor one that was away lacks anything. Of a topic one value is on its way at a
    time, and later ones take each other's place: memory does not grow with a slow network. Thread-safe.

    Raises DependencyError where paho-mqtt is missing. Nothing is connected before `start`.
    """

    def __init__(self, address: MqttAddress) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
        except ImportError:
            raise missing_extra("paho-mqtt", "mqtt") from None
        self.address = address
        self._full = MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
        self._lock = threading.Lock()  # not held while QoS 1 is published: paho holds its own then, and calls us
        self._kept: dict[str, bytes] = {}
        self._sent: dict[str, bytes] = {}  # what this connection has been given
        self._going: dict[int, str] = {}  # message id and topic of what is on its way, QoS 0
        self._filters: list[str] = []
        self._greetings: list[tuple[str, str]] = []
        self._up, self._started, self._problem = False, False, ""
        self._events = self._delivered = 0
        digest = hashlib.sha256(address.topic.encode()).hexdigest()
        self._client = Client(CallbackAPIVersion.VERSION2, f"edgessd-{digest[:8]}-{secrets.token_hex(2)}")
        self._client.max_queued_messages_set(EVENTS)
        self._client.reconnect_delay_set(1, 30)
        if address.secure:
            self._client.tls_set()
        if address.user is not None:
            self._client.username_pw_set(address.user, address.password)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._disconnected
        self._client.on_connect_fail = self._not_connected
        self._client.on_publish = self._published

    @property
    def up(self) -> bool:
        """Whether the broker is there now."""
        return self._up

    def last_will(self, topic: str, value: str) -> None:
        """Say what the broker publishes, retained, when this program is gone without a word; before `start`."""
        self._client.will_set(topic, value, qos=1, retain=True)

    def listen(self, topics: str, handler: Handler) -> None:
        """Call `handler` (topic, payload, whether it was retained) with each message; before `start`.

        topics: a topic with + and #. The handler runs in the connection's thread.
        """
        self._filters.append(topics)
        self._client.message_callback_add(
            topics, lambda _, __, each: handler(each.topic, bytes(each.payload), each.retain)
        )

    def greet(self, topic: str, value: str) -> None:
        """Publish this, not retained, at the beginning of every connection; before `start`."""
        self._greetings.append((topic, value))

    def start(self) -> None:
        """Connect in the background."""
        self._started = True
        self._client.connect_async(self.address.host, self.address.port, keepalive=_KEEPALIVE)
        self._client.loop_start()

    def send(self, topic: str, text: str) -> None:
        """Publish one event, now or when the broker is back. Raises InputError where too many wait already."""
        if self._client.publish(topic, text.encode(), qos=1).rc == self._full:
            raise InputError(f"{self.address.shown}: the broker is away, and {EVENTS} events wait already: one is lost")
        with self._lock:
            self._events += 1

    def keep(self, topic: str, value: str | bytes) -> None:
        """Let this be the value that stands at `topic`."""
        with self._lock:
            self._kept[topic] = value.encode() if isinstance(value, str) else value
            self._bring(topic)

    def again(self, topic: str | None = None) -> None:
        """Publish once more what stands at `topic`, or everything."""
        with self._lock:
            for each in list(self._kept) if topic is None else [topic]:
                self._sent.pop(each, None)
                self._bring(each)

    def tell(self, topic: str, value: str, *, retain: bool = False) -> None:
        """Publish once, if the broker is there now."""
        with self._lock:
            message = self._client.publish(topic, value.encode(), retain=retain) if self._up else None
            if message is not None and not message.rc:
                self._going[message.mid] = ""

    def _bring(self, topic: str) -> None:
        value = self._kept.get(topic)
        if not self._up or value is None or self._sent.get(topic) == value or topic in self._going.values():
            return
        # QoS 0: a value that is lost is lost with its connection, and the next one gets all of them anew; a
        # repeated QoS 1 message could come behind a newer value and stay.
        message = self._client.publish(topic, value, retain=True)
        if not message.rc:
            self._sent[topic], self._going[message.mid] = value, topic

    def _published(self, client: Any, data: Any, number: int, *_: Any) -> None:
        with self._lock:
            topic = self._going.pop(number, None)
            if topic is None:
                self._delivered += 1
            else:
                self._bring(topic)

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            self._say(f"the broker refused: {_REFUSALS.get(str(reason), printable(str(reason).lower()))}")
            return
        if self._problem:
            self._problem = ""
            self.report("the broker is back")
        for topics in self._filters:
            client.subscribe(topics, qos=1)
        with self._lock:
            self._up = True
            self._sent.clear()
            self._going.clear()
            for topic in self._kept:
                self._bring(topic)
        for topic, value in self._greetings:
            self.tell(topic, value)

    def _not_connected(self, *_: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this while it handles the error
        self._say("the broker is away", "" if error is None else f" ({failure(error)})")

    def _disconnected(self, *_: Any) -> None:
        was, self._up = self._up, False
        if was and self._started:
            self._say("the broker is away")

    def report(self, text: str) -> None:
        """Say something about this connection on stderr, if anybody hears it: a closed stderr must not end it."""
        with contextlib.suppress(OSError, ValueError):
            print(f"{self.address.shown}: {text}", file=sys.stderr, flush=True)

    def _say(self, problem: str, reason: str = "") -> None:
        if problem != self._problem:
            self._problem = problem
            self.report(f"{problem}{reason}; going on and trying again")

    def _pending(self) -> int:
        with self._lock:
            return self._events - self._delivered + (len(self._going) if self._up else 0)

    def close(self) -> None:
        """Give what is on its way some seconds, and leave the broker. Says how many events were lost."""
        if not self._started:
            return
        deadline = time.monotonic() + _GOODBYE
        while self._up and self._pending() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._started = False
        self._client.disconnect()
        # With messages left it waits for the broker until the connection breaks, which is too long for an end.
        ending = threading.Thread(target=self._client.loop_stop, name="edgessd-mqtt-end", daemon=True)
        ending.start()
        ending.join(_GOODBYE)
        lost = self._events - self._delivered
        if lost > 0:
            self.report(f"{lost} event{'s' * (lost > 1)} did not reach the broker")
