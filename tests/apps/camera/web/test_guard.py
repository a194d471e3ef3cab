import asyncio
import http.client
import urllib.parse
from typing import Any

import pytest

from edgessd.apps.camera.web.guard import Guard

websockets: Any = pytest.importorskip("websockets")
connect: Any = pytest.importorskip("websockets.sync.client").connect
TOKEN = "a-token-of-letters"


def ask(path: str = "/", *, token: str | None = None, kind: str = "http", **headers: str) -> int:
    """The status that the guard answers; 200 when it lets the request through."""
    sent: list[Any] = []
    path, _, query = path.partition("?")
    headers = {"host": "localhost:8000", **headers}
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"status": 200})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(inside, token)(scope, receive, send))
    return int(sent[0].get("status", 403))


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "headers", "through"),
    [
        ("/x", {}, False),
        ("/x?token=wrong", {}, False),
        ("/x?token=", {}, False),
        (f"/x?token={TOKEN}x", {}, False),
        (f"/x?token={TOKEN}", {}, True),
        ("/x", {"authorization": f"Bearer {TOKEN}"}, True),
        ("/x", {"authorization": f"Basic {TOKEN}"}, False),
        ("/x", {"cookie": f"a=b; edgessd_token={TOKEN}"}, True),
        ("/x", {"cookie": "edgessd_token=wrong"}, False),
        ("/health", {}, False),
        (f"/x?token={TOKEN}", {"origin": "https://evil.example"}, False),
        (f"/x?token={TOKEN}", {"host": "pi.local:8000", "origin": "http://pi.local:8000"}, True),
    ],
)
def test_token(kind: str, path: str, headers: dict[str, str], through: bool) -> None:
    assert (ask(path, token=TOKEN, kind=kind, **headers) == 200) is through


@pytest.mark.parametrize(
    ("headers", "through"),
    [
        ({}, True),
        ({"host": "127.0.0.1:8000"}, True),
        ({"host": "[::1]:8000"}, True),
        ({"host": "evil.example:8000"}, False),  # a name of somebody else's that leads to loopback
        ({"origin": "http://localhost:8000"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://localhost:9000"}, False),
    ],
)
def test_loopback_without_token_is_for_the_user_of_this_machine(headers: dict[str, str], through: bool) -> None:
    assert (ask("/api/settings", **headers) == 200) is through


def test_first_visit_puts_the_token_into_a_cookie(run_web: Any) -> None:
    web = run_web(token=TOKEN)
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)

    def visit(path: str, **headers: str) -> http.client.HTTPResponse:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer

    assert visit("/").status == 401 and visit("/snapshot.jpg").status == 401
    first = visit(f"/?{urllib.parse.urlencode({'token': TOKEN})}")
    assert first.status == 303 and first.headers["Location"] == "/"
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert visit("/", Cookie=cookie.split(";")[0]).status == 200
    connection.close()


def test_wrong_token_gets_no_websocket(run_web: Any) -> None:
    web = run_web(token=TOKEN)
    for path in ("/ws", "/ws?token=wrong", "/ws/camera"):
        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{web.port}{path}")
    with connect(f"ws://127.0.0.1:{web.port}/ws?token={TOKEN}") as link:
        assert link.recv(5)
    with pytest.raises(websockets.exceptions.InvalidStatus):
        connect(f"ws://127.0.0.1:{web.port}/ws?token={TOKEN}", origin="http://evil.example")
