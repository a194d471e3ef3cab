"""What can be done about an event: a webhook, a command, an MQTT message."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgessd.apps.camera.mqtt import MqttLink
from edgessd.errors import InputError, OptionError, printable
from edgessd.io.address import Address, is_url
from edgessd.io.remote import HttpError, post_json
from edgessd.options.secrets import read_secret, with_password

_TIMEOUT = 5.0
_PAUSES = (1.0, 3.0)  # seconds before the second and third attempt of a webhook


class Webhook:
    """POSTs the event as JSON to an http or https address; tries three times.

    Messages name its host only. token, password: files with the secrets `webhook-token`, which goes as `Authorization:
    Bearer`, and `webhook-password`, of the user in the address (`edgessd.options.secrets`).
    """

    name = "webhook"

    def __init__(self, url: str, *, password: Path | None = None, token: Path | None = None) -> None:
        if not is_url(url):
            raise OptionError("--webhook: give an address that begins with http:// or https://")
        try:
            address = Address.parse(url, name="--webhook")
        except InputError as error:
            raise OptionError(str(error)) from None
        bearer = read_secret("webhook-token", token)
        if bearer is not None and address.user is not None:
            raise OptionError("--webhook: has a user, so it takes a password and no token")
        self._address = replace(with_password(address, "webhook-password", password), token=bearer)
        self._ending = threading.Event()

    def act(self, event: dict[str, Any]) -> None:
        """Send it. Raises InputError when that fails three times."""
        data, problem = json.dumps(event).encode(), InputError(f"{self._address.origin}: not sent before the end")
        for pause in (0.0, *_PAUSES):
            if self._ending.wait(pause):
                break
            try:
                return post_json(self._address, data, timeout=_TIMEOUT)
            except InputError as error:
                problem = error
                if isinstance(error.__cause__, HttpError) and error.__cause__.status < 500:
                    break  # it will not change its mind
        raise problem

    def close(self) -> None:
        """End the pauses."""
        self._ending.set()


class Command:
    """Runs a command, without a shell: the event as JSON on stdin, and EDGESSD_NAME, _SCORE, _COUNT, _TIME set.

    A command that takes longer than 30 seconds is ended.
    """

    name = "exec"
    timeout = 30.0

    def __init__(self, command: str) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise OptionError(f"--exec: {error}: no shell reads it, quote as in one") from None
        program = self._arguments[0] if self._arguments else ""
        if shutil.which(program) is None:
            raise OptionError(
                f"--exec {printable(program)}: there is no such program; for a line of shell write: sh -c '...'"
            )

    def act(self, event: dict[str, Any]) -> None:
        """Run it. Raises InputError when it fails."""
        values = {f"EDGESSD_{key.upper()}": str(event[key]) for key in ("name", "score", "count", "time")}
        try:
            done = subprocess.run(
                self._arguments,
                input=json.dumps(event).encode(),
                env={**os.environ, **values},
                timeout=self.timeout,
                check=False,
                stderr=subprocess.PIPE,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{self._arguments[0]}: took longer than {self.timeout:g} s and was ended") from None
        except OSError as error:
            raise InputError(f"{self._arguments[0]}: {error.strerror}") from None
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"{self._arguments[0]}: exit code {done.returncode} {printable(''.join(last))}".rstrip())

    def close(self) -> None:
        """Nothing to free."""


class Mqtt:
    """Publishes the event as JSON to the topic of the link's address, QoS 1.

    The broker may be away: events wait in the link, as many as `edgessd.apps.camera.mqtt.EVENTS`.
    """

    name = "mqtt"

    def __init__(self, link: MqttLink) -> None:
        self._link = link

    def act(self, event: dict[str, Any]) -> None:
        """Hand it to the link. Raises InputError when too many wait already."""
        self._link.send(self._link.address.topic, json.dumps(event))

    def close(self) -> None:
        """Leave the broker."""
        self._link.close()
