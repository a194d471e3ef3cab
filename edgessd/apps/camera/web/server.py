"""The web view as an output of the camera: uvicorn in a thread."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.pipeline import Result
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.web.guard import Guard
from edgessd.apps.camera.web.hub import Hub
from edgessd.apps.camera.web.state import State
from edgessd.errors import InputError, OptionError, missing_extra, printable
from edgessd.io.images import Image

try:
    import uvicorn
    import websockets as _websockets  # noqa: F401 (uvicorn speaks WebSocket through it)

    from edgessd.apps.camera.web.routes import application
except ImportError as error:
    if error.name is None or error.name.split(".")[0] not in ("starlette", "uvicorn", "websockets"):
        raise
    raise missing_extra(f"{error.name.split('.')[0]} (for the web view)", "web") from None

_SEND_BUFFER = 256 << 10  # bytes that the system keeps for a slow viewer: some pictures, not seconds of them
_MESSAGE_PAUSE = 0.5  # seconds between two messages while no frames come


@dataclass(frozen=True)
class WebAddress:
    """Where the web view listens; the socket is bound already.

    token: None on loopback. certificate: PEM or None. fresh: whether the token was made here, so that it must be told.
    """

    listener: socket.socket
    host: str
    token: str | None = field(repr=False)
    certificate: Path | None
    fresh: bool

    @classmethod
    def parse(cls, text: str, token: str | None = None, certificate: Path | None = None) -> WebAddress:
        """Read `PORT`, `HOST:PORT` or `[IPV6]:PORT`, and take the port. Raises OptionError.

        The host is 127.0.0.1 by default. Any other than loopback has a token: the one given, or a new one.
        """
        match = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[^:\s]+)?:)?(\d{1,5})", text)
        if match is None or int(match.group(2)) > 65535:
            raise OptionError(f"--web {printable(text)}: give a port or host:port, such as 8000 or 0.0.0.0:8000")
        host, port = (match.group(1) or "127.0.0.1").strip("[]"), int(match.group(2))
        if token is not None and not re.fullmatch(r"[A-Za-z0-9_.~-]{8,200}", token):
            raise OptionError("--web-token: give eight letters, digits or . _ ~ - at least")
        if certificate is not None:
            _check_certificate(certificate)
        listener = _listen(host, port)
        fresh = token is None and not _is_loopback(listener.getsockname()[0])
        return cls(listener, host, secrets.token_urlsafe(16) if fresh else token, certificate, fresh)

    @property
    def port(self) -> int:
        """The port."""
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The address to open in a browser, with the token."""
        host = _reachable(self.host)
        scheme = "https" if self.certificate is not None else "http"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self.port}/" + (f"?token={self.token}" if self.token is not None else "")


class WebOutput:
    """Serves the web view until it is closed. It never makes the camera wait."""

    def __init__(self, address: WebAddress, control: Control, capture: Capture, recorder: Recorder) -> None:
        self.hub = Hub()
        self._state = State(control, capture, recorder, self.hub)
        self._address = address
        self._told = 0.0
        config = uvicorn.Config(
            Guard(application(self._state), address.token),
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",  # it waits for slow readers since 0.54; before, it kept everything in memory
            ws_max_size=4 << 20,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=None if address.certificate is None else str(address.certificate),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="edgessd-web", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise InputError("the web view did not start")
            time.sleep(0.01)
        # A token that was given is known to its owner; logs that many read need not have it.
        print(f"web view: {address.url if address.fresh else printable(address.url)}", file=sys.stderr, flush=True)

    def _serve(self) -> None:
        async def serve() -> None:
            self.hub.attach(asyncio.get_running_loop())
            await self._server.serve(sockets=[self._address.listener])

        asyncio.run(serve())

    @property
    def pictures(self) -> bool:
        """Whether anybody looks."""
        return self.hub.wanted

    def add(self, result: Result, picture: Image) -> None:
        """Show one frame to whoever looks."""
        self.hub.show(picture)
        if self.hub.messages.readers > 0:
            self.hub.tell(self._state.message(result))
            self._told = time.monotonic()

    def idle(self, picture: Image | None) -> None:
        """Show what is to be said, and keep the page's numbers alive."""
        if picture is not None:
            self.hub.show(picture)
        if self.hub.messages.readers > 0 and time.monotonic() - self._told > _MESSAGE_PAUSE:
            self.hub.tell(self._state.message(None))
            self._told = time.monotonic()

    def close(self) -> None:
        """End the server and all its connections."""
        self.hub.close()
        self._server.should_exit = True
        self._thread.join(8.0)
        self._address.listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise OptionError(f"--web: no such address {printable(host)}: {error}") from None
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind(place)
        listener.listen(128)
    except OSError as error:
        listener.close()
        other = f"try --web {host}:{port + 1}" if port < 65535 else "try another port"
        reason = error.strerror or error
        raise OptionError(f"--web: cannot listen on {printable(host)}, port {port} ({reason}): {other}") from None
    return listener


def _check_certificate(path: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(
            f"--web-cert {printable(path)}: {error.strerror or error}: give a PEM file with certificate and key"
        ) from None


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.split("%")[0]).is_loopback


def _reachable(host: str) -> str:
    """For `0.0.0.0`, the address that this machine has in its network."""
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which way it would go
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
