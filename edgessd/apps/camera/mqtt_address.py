"""Where an MQTT broker is, and the names of topics."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from edgessd.errors import InputError, OptionError, printable
from edgessd.io.address import Address, source_name
from edgessd.options.secrets import with_password

_SAFE = re.compile(r"[a-z0-9]+(?: [a-z0-9]+)*")


def topic_level(name: str) -> str:
    """Return `name` as one level of a topic, of a-z 0-9 _ - only; two names never become the same.

    Lower-case words keep their look, with `_` for a blank; all others have a piece of their SHA-256 at the end.
    """
    if _SAFE.fullmatch(name):
        return name.replace(" ", "_")
    shown = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    return f"{shown}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


@dataclass(frozen=True)
class MqttAddress:
    """Where a broker is, who we are there, and the topic below which everything is published."""

    host: str
    port: int
    secure: bool
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    topic: str

    @classmethod
    def parse(cls, url: str, *, source: str = "", password_file: Path | None = None) -> MqttAddress:
        """Read `mqtt://[user[:password]@]host[:port][/topic]`, or mqtts://. Raises OptionError.

        The password comes from `password_file`, from the address, or from the environment (`mqtt-password`).
        Without a topic it is made of this machine and `source`, see `own_topic`.
        """
        try:
            address = Address.parse(url)
        except InputError as error:
            raise OptionError(f"--mqtt {error}; give mqtt://[user@]host[:port]/topic") from None
        topic = unquote(address.path).strip("/")
        known = address.scheme in ("mqtt", "mqtts") and not address.query and "#" not in url
        if not known or (topic and not is_topic(topic)):
            raise OptionError(
                f"--mqtt {address}: give mqtt://[user@]host[:port]/topic, or mqtts://, in the topic with "
                "% and two hexadecimal digits for special characters; a topic has no + and #"
            )
        address, secure = with_password(address, "mqtt-password", password_file), address.scheme == "mqtts"
        port = address.port_or_default or 1883
        return cls(address.host, port, secure, address.user, address.password, topic or own_topic(source))

    @property
    def shown(self) -> str:
        """The address for messages, without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return printable(f"mqtt{'s' * self.secure}://{host}:{self.port}/{self.topic}")


def own_topic(source: str) -> str:
    """Return a topic that only this machine uses, for this source: `edgessd/HOST-SOURCE-HASH`."""
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = socket.gethostname()
    host, shown = re.sub(r"[^a-z0-9]+", "_", socket.gethostname().lower()), source_name(source)
    name = re.sub(r"[^a-z0-9]+", "_", shown.lower()).strip("_")[-24:]
    return f"edgessd/{host}-{name}-{hashlib.sha256(f'{machine} {shown}'.encode()).hexdigest()[:6]}"


def is_topic(topic: str) -> bool:
    """Whether messages can be published to this topic, and below it."""
    usual = 0 < len(topic) <= 200 and printable(topic) == topic and not {"#", "+"} & set(topic)
    return usual and not topic.startswith("$") and topic.strip("/") == topic
