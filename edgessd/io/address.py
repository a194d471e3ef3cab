"""The one parser of addresses: of pictures, videos, streams, snapshots, webhooks and MQTT brokers."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from edgessd.errors import InputError, printable
from edgessd.masking import shown_address
from edgessd.masking import url_scheme as url_scheme  # told of addresses, so found here as well

_PARTS = re.compile(r"(?s)([a-zA-Z][a-zA-Z0-9+.\-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?")
_NEED_HOST = ("http", "https", "rtsp", "rtsps", "mqtt", "mqtts")
_DEFAULT_PORTS = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883}
_ENCODE = (
    "in a user or password, write the characters @ : / # ? and % as %40 %3A %2F %23 %3F and %25, or give the password "
    "in a file or the environment"
)


@dataclass(frozen=True, repr=False)
class Address:
    """A well-formed address. As text it is what may be shown: without login, and without secrets in its query.

    scheme: in lower case. user, password: percent-decoded; None where there is none. host: without brackets; of an
    international name its ASCII form; empty where the scheme needs none. path, query: as they were given, the query
    with its question mark. shown: what may be shown, on one line. token: for
    `Authorization: Bearer`.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None
    path: str
    query: str
    shown: str
    token: str | None = None

    @classmethod
    def parse(cls, text: str, *, name: str | None = None) -> Address:
        """Read an address. Raises InputError, which shows nothing secret and says what to do.

        name: what messages call it, where even the path is a secret.
        """
        shown = printable(shown_address(text))
        name = name or shown
        match = _PARTS.fullmatch(text.strip())
        if match is None:
            raise InputError(f"{name}: is no address: it must begin with a scheme such as https://")
        if re.search(r"[\x00-\x1f\x7f]", text.strip()):
            raise InputError(f"{name}: has a control character in it: write the address anew")
        scheme, authority, path, query, fragment = (part or "" for part in match.groups())
        login, at, place = authority.rpartition("@")
        host, port = _host_and_port(place, name, login_may_follow="@" in f"{path}{query}{fragment}")
        if "@" in fragment:
            raise InputError(f"{name}: {_ENCODE}")
        if not host and scheme.lower() in _NEED_HOST:
            raise InputError(f"{name}: names no host: write {scheme}://HOST/...")
        user, colon, password = login.partition(":")
        return cls(
            scheme.lower(),
            _decoded(user) if at and (user or colon) else None,
            _decoded(password) if colon else None,
            host,
            port,
            path,
            query,
            shown,
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown of a webhook, whose path is a secret."""
        return printable(f"{self.scheme}://{self._place}")

    @property
    def without_login(self) -> str:
        """The address for a request, whose login goes as `headers`; its query may be a secret."""
        return f"{self.scheme}://{self._place}{self.path}{self.query}"

    @property
    def with_login(self) -> str:
        """The address for an engine that takes the login in it (FFmpeg, for RTSP), percent-encoded as it must be."""
        if self.user is None:
            return self.without_login
        password = "" if self.password is None else f":{_encoded(self.password)}"
        return f"{self.scheme}://{_encoded(self.user)}{password}@{self._place}{self.path}{self.query}"

    @property
    def headers(self) -> dict[str, str]:
        """The login as a header of HTTP (Basic authentication in UTF-8, or the token); empty without one."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        if self.user is None:
            return {}
        login = f"{self.user}:{self.password or ''}".encode(errors="surrogateescape")
        return {"Authorization": f"Basic {base64.b64encode(login).decode()}"}

    @property
    def port_or_default(self) -> int | None:
        """The port, or the usual one of the scheme."""
        return self.port if self.port is not None else _DEFAULT_PORTS.get(self.scheme)

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def with_password(self, password: str) -> Address:
        """Return the address with this password."""
        return replace(self, password=password)

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape")  # of another encoding than UTF-8, the bytes are kept


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")


def _host_and_port(place: str, name: str, *, login_may_follow: bool) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[^\]@]*\]|[^:\[\]]*)(?::(.*))?", place, re.DOTALL)
    if match is None:
        raise InputError(f"{name}: {_ENCODE}" if login_may_follow else f"{name}: is no host: {_HOSTS}")
    host, port = match.group(1), match.group(2) or None
    if place.count(":") > 1 and not place.startswith("["):
        raise InputError(f"{name}: {_ENCODE}" if login_may_follow else f"{name}: is no host: {_HOSTS}")
    if port is not None and not (port.isascii() and port.isdecimal()):
        raise InputError(f"{name}: {_ENCODE}" if login_may_follow else f"{name}: the port is no number")
    if port is not None and not 0 < int(port[:9]) < 65536:
        raise InputError(f"{name}: the port must be 1 to 65535")
    return _host(host, name), None if port is None else int(port)


_HOSTS = "write a name, an address such as 192.168.1.20, or one of IPv6 in brackets: [fe80::1]"


def _host(text: str, name: str) -> str:
    host = unquote(text[1:-1] if text.startswith("[") else text)
    try:
        if text.startswith("["):
            ipaddress.IPv6Address(host)
        else:
            host = host.encode("idna").decode()
            if re.search(r"[\s<>\"'`|\\^{}\[\]@:/?#%]", host):
                raise ValueError
    except ValueError:  # UnicodeError is one
        raise InputError(f"{name}: is no host: {_HOSTS}") from None
    return host


def is_url(source: object) -> bool:
    """Whether `source` is an http or https address."""
    return isinstance(source, str) and url_scheme(source) in ("http", "https")


def source_name(source: str | os.PathLike[str]) -> str:
    """Return what a source is called in results and files: a path as it is, an address as it may be shown."""
    text = os.fspath(source)
    return shown_address(text) if isinstance(source, str) and url_scheme(text) is not None else text


def shown_source(source: str | os.PathLike[str]) -> str:
    """Return a path or an address as messages show it: one line, not too long, without a login and secrets."""
    return printable(source_name(source))


def file_name(source: str) -> str:
    """Return the name of the file that a path or an address names, or `picture`; nothing secret is in it."""
    parts = _PARTS.match(shown_address(source).strip())
    if parts is not None:
        source = re.sub(r"[^\w.\- ]", "_", unquote(parts.group(3)).rpartition("/")[2])
    return Path(source).name or "picture"
