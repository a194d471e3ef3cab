"""Opening http and https addresses, with limits on time and bytes."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from edgessd.errors import InputError
from edgessd.io.files import printable

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_CHUNK = 1 << 16


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5
    max_repeats = 2


def url_scheme(text: str) -> str | None:
    """Return the scheme of an address such as `https://...` in lower case, None for anything else (a path)."""
    match = _SCHEME.match(text)
    return match.group(1).lower() if match else None


def is_url(source: object) -> bool:
    """Whether `source` is an http or https address."""
    return isinstance(source, str) and url_scheme(source) in ("http", "https")


def shown_url(url: str) -> str:
    """Return `url` for a message: one line, not too long, and without a user name and password in it."""
    return printable(re.sub(r"//[^/?#@]*@", "//", url, count=1))


def open_url(
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    sockets: list[socket.socket] | None = None,
) -> http.client.HTTPResponse:
    """Open an http or https address and return the response, redirects followed (to http and https only).

    timeout: seconds for every single wait on the network; not for the whole.
    sockets: takes every socket that is opened, so that another thread can end a wait by shutting it down.
    Raises OSError (`urllib.error.URLError` and HTTPError are kinds of it), ValueError or
    http.client.HTTPException; `failure` puts them into words.
    """
    opened = sockets if sockets is not None else []

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened.append(self.sock)

    class SecureConnection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened.append(self.sock)

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, req, context=ssl.create_default_context())

    # Not build_opener: it adds handlers for file, ftp and data addresses.
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        Http(),
        Https(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        director.add_handler(handler)
    request = urllib.request.Request(_quoted(url), headers={"User-Agent": "edgessd", **(headers or {})})
    return cast(http.client.HTTPResponse, director.open(request, timeout=timeout))


def _quoted(url: str) -> str:
    """Percent-encode what may not stand in a request (spaces, letters beyond ASCII); leave the rest as it is."""
    return urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]|")


def failure(error: BaseException) -> str:
    """Say in a few words why an address could not be read."""
    if isinstance(error, urllib.error.HTTPError):
        if "infinite loop" in str(error.reason):
            return "it redirects in circles"
        known = {401: "it wants a login", 403: "access is refused", 404: "there is nothing at this address"}
        return f"HTTP {error.code}: {known.get(error.code, printable(error.reason))}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return failure(error.reason)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known (is the network up?)"
    if isinstance(error, ConnectionRefusedError):
        return "the host refuses the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({printable(error.verify_message)})"
    if isinstance(error, http.client.IncompleteRead | ConnectionError):
        return "the connection was cut"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not valid HTTP ({type(error).__name__})"
    return printable(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)


def fetch_bytes(url: str, *, timeout: float, max_bytes: int) -> bytes:
    """Return the whole body at an http or https address.

    timeout: seconds for everything together: name, connection, headers and body.
    max_bytes: a body that is larger, or announced to be larger, is refused.
    Raises InputError for every failure, within about `timeout` seconds.
    """
    shown = shown_url(url)
    if not is_url(url):
        raise InputError(f"{shown}: only http and https addresses can be read")
    deadline = time.monotonic() + timeout
    sockets: list[socket.socket] = []
    late = f"{shown}: not read within {timeout:g} s: try again, or download the file and give its path"

    def read() -> bytes:
        with open_url(url, timeout=timeout, sockets=sockets) as response:
            announced = response.headers.get("Content-Length", "")
            parts: list[bytes] = []
            total = int(announced) if announced.isdigit() else 0
            while total <= max_bytes and time.monotonic() < deadline:
                chunk = response.read1(_CHUNK)
                if not chunk:
                    if announced.isdigit() and sum(map(len, parts)) < int(announced):
                        raise http.client.IncompleteRead(b"")
                    return b"".join(parts)
                parts.append(chunk)
                total = max(total, sum(map(len, parts)))
        if total > max_bytes:
            limit = f"{max_bytes / 2**20:.4g} MiB"
            raise InputError(f"{shown}: larger than the limit of {limit}: download it and give its path")
        raise InputError(late)

    # A thread, because the waits for a name, or for headers that come byte by byte, know no total limit.
    answer = _run_until(deadline, read)
    if answer is None:
        for opened in sockets:
            _shut_down(opened)
        raise InputError(late)
    result, error = answer
    if isinstance(error, InputError):
        raise error
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    if isinstance(error, OSError | http.client.HTTPException | ValueError):
        if time.monotonic() >= deadline:
            raise InputError(late) from error
        raise InputError(f"{shown}: cannot be read: {failure(error)}") from error
    if error is not None:
        raise error
    return cast(bytes, result)


def _run_until(deadline: float, work: Callable[[], Any]) -> tuple[Any, Exception | None] | None:
    """Run `work` in a thread of its own; return (result, error), or None when it is not done at the deadline."""
    outcome: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="edgessd-fetch", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    return outcome[0] if outcome else None


def _shut_down(opened: socket.socket) -> None:
    with suppress(OSError):  # already closed
        opened.shutdown(socket.SHUT_RDWR)
