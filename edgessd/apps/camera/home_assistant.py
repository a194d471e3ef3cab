"""What Home Assistant is told over MQTT: topics, and the messages by which it discovers the camera.

Source of the contract: Home Assistant's documentation of MQTT discovery, and of its binary sensor, sensor and image
over MQTT. Each entity has a configuration message of its own, `PREFIX/COMPONENT/DEVICE/OBJECT/config`, which every
version since 2023.7 reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import edgessd
from edgessd.apps.camera.mqtt_address import topic_level

ONLINE, OFFLINE, ON, OFF = "online", "offline", "ON", "OFF"
PREFIX = "homeassistant"


@dataclass(frozen=True)
class Topics:
    """Where a camera says what, below its own topic."""

    base: str

    @property
    def availability(self) -> str:
        """`online` while frames come, else `offline`."""
        return f"{self.base}/availability"

    @property
    def count(self) -> str:
        """How many watched objects are in the picture."""
        return f"{self.base}/count"

    @property
    def counts(self) -> str:
        """The same by class, as JSON."""
        return f"{self.base}/counts"

    @property
    def picture(self) -> str:
        """The last picture with a watched object, JPEG."""
        return f"{self.base}/picture"

    @property
    def run(self) -> str:
        """A program says here that it begins, so that two of one topic notice each other."""
        return f"{self.base}/run"

    def of(self, name: str) -> str:
        """Whether a class is there: `ON` or `OFF`."""
        return f"{self.base}/class/{topic_level(name)}"

    @property
    def device(self) -> str:
        """The identifier of the device; the same for as long as the topic is."""
        return f"edgessd_{topic_level(self.base)}"


def discovery(topics: Topics, classes: Sequence[str], *, model: str, prefix: str = PREFIX) -> dict[str, dict[str, Any]]:
    """Return topic and content of every configuration message of a camera.

    classes: those that get a binary sensor. model: what the device page shows as its model. prefix: Home Assistant's
    discovery prefix.
    """
    device = topics.device
    common = {
        "availability": [{"topic": topics.availability, "payload_available": ONLINE, "payload_not_available": OFFLINE}],
        "device": {
            "identifiers": [device],
            "name": topics.base.rpartition("/")[2],
            "manufacturer": "edgessd",
            "model": model,
            "sw_version": edgessd.__version__,
        },
        "origin": {"name": "edgessd", "sw_version": edgessd.__version__},
    }
    found = {}
    for name in classes:
        level = topic_level(name)
        found[f"{prefix}/binary_sensor/{device}/{level}/config"] = {
            "name": name,
            "unique_id": f"{device}_class_{level}",
            "device_class": "occupancy",
            "state_topic": topics.of(name),
            "payload_on": ON,
            "payload_off": OFF,
            **common,
        }
    found[f"{prefix}/sensor/{device}/count/config"] = {
        "name": "Count",
        "unique_id": f"{device}_count",
        "icon": "mdi:counter",
        "state_class": "measurement",
        "state_topic": topics.count,
        "json_attributes_topic": topics.counts,
        **common,
    }
    found[f"{prefix}/image/{device}/picture/config"] = {
        "name": "Last picture",
        "unique_id": f"{device}_picture",
        "image_topic": topics.picture,
        "content_type": "image/jpeg",
        **common,
    }
    return found
