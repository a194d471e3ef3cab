"""A real mosquitto for the tests, and an ear at it."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Debian has it outside of a user's path.
PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def until(true: Callable[[], bool], what: str = "", seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Mosquitto:
    """One broker on loopback that keeps nothing on the disk; it can be killed and started again at the same port."""

    def __init__(self, folder: Path, password: str | None = None) -> None:
        if PROGRAM is None:
            pytest.skip("needs mosquitto: apt-get install mosquitto")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", f"allow_anonymous {str(not password).lower()}"]
        if password is not None:
            (folder / "passwords").write_text(f"me:{password}\n")
            subprocess.run(["mosquitto_passwd", "-U", folder / "passwords"], check=True)
            lines.append(f"password_file {folder / 'passwords'}")
        self.settings = folder / "mosquitto.conf"
        self.settings.write_text("\n".join([*lines, "user root", ""]))
        self.process: Any = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen([PROGRAM, "-c", self.settings], stderr=subprocess.DEVNULL)

        def listens() -> bool:
            with socket.socket() as here:
                return here.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens, "mosquitto did not start")

    def kill(self) -> None:
        """Without a word, as a power cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Ear:
    """Hears everything: `state` is what was said last of each topic, `heard` all of it, in order."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, bytes, bool]] = []
        self.ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _, __, each: self.heard.append((each.topic, each.payload, each.retain))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    @property
    def state(self) -> dict[str, bytes]:
        return {topic: payload for topic, payload, _ in list(self.heard)}

    def says(self, topic: str, payload: bytes | str) -> bool:
        return self.state.get(topic) == (payload.encode() if isinstance(payload, str) else payload)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
