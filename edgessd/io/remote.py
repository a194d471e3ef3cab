"""HTTP for pictures, downloads and webhooks, with limits on time, bytes and redirects.

Over `http.client`, not urllib3: with the limits kept it takes no fewer lines (docs/decisions.md, 2026-11-29).
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.message import Message
from typing import TypeVar
from urllib.parse import quote, urljoin

from edgessd.errors import InputError, printable
from edgessd.io.address import Address, is_url, shown_source, url_scheme

T = TypeVar("T")
_CHUNK = 1 << 16
_REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)
_WORDS = {
    401: "it wants a login",
    403: "access is refused",
    404: "there is nothing at this address",
    407: "the proxy wants a login",
    429: "too many requests: it wants a pause",
}


class HttpError(Exception):
    """An answer that is no success, or a redirect that is not followed. headers: of the answer; status: 0 for none."""

    def __init__(self, text: str, status: int = 0, headers: Message | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or Message()


FAILURES = (OSError, http.client.HTTPException, ValueError, HttpError, zlib.error)
"""What `open_url` and the reading of its answer raise; `failure` puts it into words."""


@contextmanager
def open_url(
    address: Address,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    post: bytes | None = None,
    sockets: list[socket.socket] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Give the answer of an http or https address, after at most five redirects (to http and https only).

    The login goes as Basic authentication, to the scheme, host and port that it was given for and to no other.

    timeout: seconds for every single wait on the network; not for the whole. post: a body; it is sent on by redirects
    307 and 308 only. sockets: takes every socket that is opened, so that another thread can end a wait by shutting
    it down. Raises one of FAILURES.
    """
    for _ in range(_REDIRECTS + 1):
        connection, target, more = _connection(address, timeout)
        try:
            connection.connect()
            if sockets is not None:
                sockets.append(connection.sock)
            sent = {"User-Agent": "edgessd", "Connection": "close", **(headers or {}), **address.headers, **more}
            connection.request("GET" if post is None else "POST", target, post, sent)
            with connection.getresponse() as response:
                location = response.headers.get("Location") if response.status in _MOVED else None
                if location is None:
                    if not 200 <= response.status < 300:
                        reason = _WORDS.get(response.status, printable(response.reason))
                        if response.status == 401 and address.user is not None:
                            reason = "the login is refused"
                        raise HttpError(f"HTTP {response.status}: {reason}", response.status, response.headers)
                    yield response
                    return
        finally:
            connection.close()
        if post is not None and response.status < 307:
            raise HttpError(f"HTTP {response.status}: it has moved: give the address where it is now", response.status)
        address = _follow_redirect(address, location)
    raise HttpError("it redirects in circles")


def _follow_redirect(address: Address, location: str) -> Address:
    """Where a redirect leads: with the login only if that is the same scheme, host and port."""
    url = urljoin(_quote(address.without_login), quote(location, safe="%/:=&?~#+!$,;'@()*[]|", encoding="latin-1"))
    if not is_url(url):
        raise HttpError(f"it redirects to {url_scheme(url)}://, which is not allowed")
    try:
        new = Address.parse(url)
    except InputError:
        raise HttpError("it redirects to an address that is none") from None
    same = [(each.scheme, each.host.lower(), each.port_or_default) for each in (address, new)]
    login = address if same[0] == same[1] else replace(address, user=None, password=None, token=None)
    return replace(new, user=login.user, password=login.password, token=login.token)


def _connection(address: Address, timeout: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """Return a connection that is not made yet (through the proxy of the environment), target and more headers."""
    proxy = _proxy(address)
    place, secure = proxy or address, address.scheme == "https"
    if secure:
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            place.host, place.port_or_default, timeout=timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection(place.host, place.port_or_default, timeout=timeout)
    login = {f"Proxy-{name}": value for name, value in proxy.headers.items()} if proxy is not None else {}
    target = _quote(f"{address.path or '/'}{address.query}")
    if proxy is None:
        return connection, target, {}
    if secure:
        connection.set_tunnel(address.host, address.port_or_default, login)
        return connection, target, {}
    return connection, _quote(address.without_login), login


def _proxy(address: Address) -> Address | None:
    """Return the proxy that the environment names for an address (http_proxy, https_proxy, no_proxy)."""
    given = urllib.request.getproxies().get(address.scheme)
    if not given or urllib.request.proxy_bypass(f"{address.host}:{address.port_or_default}"):
        return None
    try:
        proxy = Address.parse(given if url_scheme(given) else f"http://{given}")
    except InputError as error:
        raise HttpError(f"the proxy in {address.scheme}_proxy cannot be used: {error}") from None
    if proxy.scheme != "http":
        raise HttpError(f"the proxy in {address.scheme}_proxy must be an http address, not {proxy.scheme}")
    return proxy


def _quote(url: str) -> str:
    """Percent-encode what may not stand in a request (spaces, letters beyond ASCII); leave the rest as it is."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]|")


def failure(error: BaseException) -> str:
    """Say in a few words why an address could not be read; nothing of the address is in them."""
    if isinstance(error, HttpError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known (is the network up?)"
    if isinstance(error, ConnectionRefusedError):
        return "the host refuses the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({printable(error.verify_message)})"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection ({printable(error.reason or 'is it https?')})"
    if isinstance(error, http.client.IncompleteRead | ConnectionError):
        return "the connection was cut"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not valid HTTP ({type(error).__name__})"
    if isinstance(error, zlib.error):
        return "its compression is damaged"
    if isinstance(error, ValueError):  # its text may have in it what could not be sent
        return "a character in address or login cannot be sent"
    return printable(getattr(error, "strerror", None) or error)


def fetch_bytes(url: str, *, timeout: float, max_bytes: int) -> bytes:
    """Return the whole body at an http or https address, unpacked where it was sent compressed.

    timeout: seconds for everything together: name, connection, headers and body.
    max_bytes: a body that is larger, or announced to be larger, is refused.
    Raises InputError for every failure, within about `timeout` seconds.
    """
    if not is_url(url):
        raise InputError(f"{shown_source(url)}: only http and https addresses can be read")
    address = Address.parse(url)
    limit = f"{address.shown}: larger than the limit of {max_bytes / 2**20:.4g} MiB: download it and give its path"

    def read(sockets: list[socket.socket]) -> bytes:
        with open_url(address, timeout=timeout, sockets=sockets) as response:
            if (announced_bytes(response) or 0) > max_bytes:
                raise InputError(limit)
            data = bytearray()
            for part in _unpack(parts(response), response.headers.get("Content-Encoding", "")):
                data += part
                if len(data) > max_bytes:
                    raise InputError(limit)
        return bytes(data)

    late = f"{address.shown}: not read within {timeout:g} s: try again, or download the file and give its path"
    return within(timeout, read, shown=address.shown, failed="cannot be read", late=late)


def post_json(address: Address, data: bytes, *, timeout: float) -> None:
    """POST JSON to an http or https address. timeout: seconds for everything together.

    Raises InputError, which shows host and port only, as the path of a webhook is a secret. An answer of
    HTTP that is no success is its cause, an HttpError.
    """

    def send(sockets: list[socket.socket]) -> None:
        kind = {"Content-Type": "application/json"}
        with open_url(address, timeout=timeout, headers=kind, post=data, sockets=sockets):
            pass

    within(
        timeout, send, shown=address.origin, failed="failed", late=f"{address.origin}: no answer within {timeout:g} s"
    )


def announced_bytes(response: http.client.HTTPResponse) -> int | None:
    """Return the length that an answer announces."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


def parts(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body as it comes. Raises ConnectionError where it ends before its announced length."""
    left = announced_bytes(response)
    while part := response.read1(_CHUNK):
        yield part
        left = None if left is None else left - len(part)
    if left:
        raise ConnectionResetError("the connection was cut")


def _unpack(packed: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Undo gzip and deflate, in pieces of a limited size; servers send them although they are not asked to."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        yield from packed
        return
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for part in packed:
        while part:
            yield unpacker.decompress(part, _CHUNK)
            part = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise ConnectionResetError("the connection was cut")


def within(timeout: float, work: Callable[[list[socket.socket]], T], *, shown: str, failed: str, late: str) -> T:
    """Return what `work` returns, which is given a list for its sockets and ended after `timeout` seconds.

    In a thread, because the waits for a name, or for headers that come byte by byte, know no total limit. Raises
    InputError for every failure: `late`, or what was tried (`shown`), `failed` and why.
    """
    deadline = time.monotonic() + timeout
    sockets: list[socket.socket] = []
    outcome: list[tuple[T | None, Exception | None]] = []

    def run() -> None:
        try:
            outcome.append((work(sockets), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="edgessd-fetch", daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        for opened in sockets:
            with suppress(OSError):  # already closed
                opened.shutdown(socket.SHUT_RDWR)
        raise InputError(late)
    result, error = outcome[0]
    if isinstance(error, FAILURES):
        if time.monotonic() >= deadline:
            raise InputError(late)
        # Only ours as cause: the texts of other libraries may hold the whole address.
        ours = error if isinstance(error, HttpError) else None
        raise InputError(f"{shown}: {failed}: {failure(error)}") from ours
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # of type T, as there was no error
