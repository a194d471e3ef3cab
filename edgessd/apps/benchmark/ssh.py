"""Commands and files on another machine, by the system's own ssh and scp, with their settings and known hosts."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from edgessd.errors import DependencyError, DeviceError, OptionError, printable

ADDRESS = re.compile(r"ssh://(?:([\w.][\w.-]*)@)?([\w.][\w.-]*|\[[0-9A-Fa-f:.%\w]+\])(?::(\d{1,5}))?/?")
# No questions; a machine that has gone away is noticed after half a minute.
OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3", "LogLevel=ERROR")
LOST = 255
"""ssh's own exit code; every other one is the command's."""


class Answer(NamedTuple):
    """What a command on the other machine said, and its exit code."""

    code: int
    output: str
    errors: str


class Ssh:
    """A machine that is reached as `ssh://[user@]host[:port]`. config: a file instead of ~/.ssh/config."""

    def __init__(self, address: str, config: Path | None = None) -> None:
        found = ADDRESS.fullmatch(address)
        if found is None or (found[3] and not 0 < int(found[3]) < 65536):
            raise OptionError(
                f"{printable(address)!r} is no address of a device: use ssh://user@host or ssh://user@host:22"
            )
        user, self.host, self._port = found[1], found[2], found[3]
        bare = self.host.strip("[]")
        self._login = f"{user}@{bare}" if user else bare
        self._copy_login = f"{user}@{self.host}" if user else self.host
        self._settings = [part for option in OPTIONS for part in ("-o", option)]
        if config is not None:
            if not config.is_file():
                raise OptionError(f"there is no ssh configuration {printable(config)}")
            self._settings = ["-F", str(config), *self._settings]
        self._connected = False

    @property
    def by_hand(self) -> str:
        """The command that connects to it in a terminal."""
        return f"ssh -p {self._port} {self._login}" if self._port else f"ssh {self._login}"

    def run(self, step: str, command: str, timeout: float | None = None) -> Answer:
        """Run a command of sh, whatever the login shell is. step: what it does, for messages.

        Raises DeviceError where there is no connection.
        """
        command = f"sh -c {shlex.quote(command)}"
        port = ["-p", self._port] if self._port else []
        return self._call(step, ["ssh", *self._settings, *port, "--", self._login, command], timeout)

    def send(self, step: str, local: Path, remote: str) -> None:
        """Copy a file or folder into the folder `remote`. Raises DeviceError."""
        self._copy(step, str(local), f"{self._copy_login}:{remote}/")

    def fetch(self, step: str, remote: str, local: Path) -> None:
        """Copy a file from there. Raises DeviceError."""
        self._copy(step, f"{self._copy_login}:{remote}", str(local))

    def _copy(self, step: str, source: str, target: str) -> None:
        port = ["-P", self._port] if self._port else []
        answer = self._call(step, ["scp", "-r", "-q", *self._settings, *port, "--", source, target], None)
        if answer.code:
            raise DeviceError(f"{step} {self.host} failed: {_last_line(answer.errors) or f'exit code {answer.code}'}")

    def _call(self, step: str, command: list[str], timeout: float | None) -> Answer:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout
            )
        except FileNotFoundError:
            raise DependencyError(f"there is no {command[0]} on this machine: apt-get install openssh-client") from None
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{self.host} did not answer in {timeout:g} s while {step}") from None
        if done.returncode == LOST or (command[0] == "scp" and done.returncode and _of_ssh(done.stderr)):
            raise DeviceError(self._reason(step, done.stderr))
        self._connected = True
        return Answer(done.returncode, done.stdout, done.stderr)

    def _reason(self, step: str, said: str) -> str:
        """Turn ssh's complaint into what to do about it."""
        if "HOST IDENTIFICATION HAS CHANGED" in said:
            return (
                f"the host key of {self.host} is another one than before: if the device was set up anew, "
                f"remove the old key (ssh-keygen -R); if not, somebody may be listening in"
            )
        if "Host key verification failed" in said or "No matching host key" in said:
            return f"the host key of {self.host} is not known here: connect once by hand ({self.by_hand}) and accept it"
        if "Permission denied" in said:
            return (
                f"{self.host} refuses the login: it must work without a password "
                f"({self.by_hand.replace('ssh', 'ssh-copy-id', 1)} installs your key)"
            )
        if self._connected:
            return f"the connection to {self.host} was lost while {step}: {_last_line(said) or 'ssh says nothing more'}"
        return f"{self.host} cannot be reached: {_last_line(said) or 'ssh says nothing more'}"


def _of_ssh(said: str) -> bool:
    return any(part in said for part in ("Connection closed", "lost connection", "Host key", "Permission denied (pub"))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""
