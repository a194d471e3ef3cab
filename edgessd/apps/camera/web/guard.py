"""Who may come in: the token, and no strange page in the user's own browser."""

from __future__ import annotations

import hmac
import urllib.parse
from http.cookies import CookieError, SimpleCookie
from typing import Any

_COOKIE = "edgessd_token"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """ASGI middleware in front of everything.

    token: asked for in each request, as `?token=`, as `Authorization: Bearer`, or as the cookie that the first
    visit with `?token=` sets; None asks for none, which is for loopback only. Then the address in the request must
    be one of loopback, so that no name of somebody else's can lead here. A page of another origin is always refused.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the request through or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = self._tokens_given(scope, headers)
        if self._token is not None and not any(
            hmac.compare_digest(each.encode(), self._token.encode()) for each in given
        ):
            await _refuse(scope, receive, send, 401, "token missing or wrong: use the address that the camera printed")
        elif not self._same_origin(headers):
            await _refuse(scope, receive, send, 403, "this page may not be used from another site")
        elif self._token is not None and scope["type"] == "http" and scope["path"] == "/" and "token=" in _query(scope):
            # Keep the token in a cookie and take it out of the address, which ends up in histories.
            cookie = f"{_COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
        else:
            await self._app(scope, receive, send)

    def _tokens_given(self, scope: Any, headers: dict[bytes, str]) -> list[str]:
        given = urllib.parse.parse_qs(_query(scope)).get("token", [])
        kind, _, value = headers.get(b"authorization", "").partition(" ")
        if kind.lower() == "bearer":
            given.append(value.strip())
        try:
            cookie = SimpleCookie(headers.get(b"cookie", "")).get(_COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            given.append(cookie.value)
        return given

    def _same_origin(self, headers: dict[bytes, str]) -> bool:
        host = headers.get(b"host", "")
        if self._token is None and urllib.parse.urlsplit(f"//{host}").hostname not in _LOOPBACK:
            return False
        origin = headers.get(b"origin")
        return origin is None or urllib.parse.urlsplit(origin).netloc == host


def _query(scope: Any) -> str:
    return str(scope.get("query_string", b"").decode("latin-1"))


async def _refuse(scope: Any, receive: Any, send: Any, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})  # before it was accepted: HTTP 403
        return
    await _answer(send, status, f"{text}\n".encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _answer(send: Any, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
