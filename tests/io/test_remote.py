import base64
import contextlib
import gzip
import socket
import ssl
import subprocess
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.address import Address
from edgessd.io.images import load_image
from edgessd.io.remote import fetch_bytes, post_json

Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]
JPEG = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def test_picture_from_an_address(serve: Serve) -> None:
    paths = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        paths.append(handler.path)
        if handler.path.startswith("/moved"):
            send(handler, b"", 302, Location="/a%20photo.jpg")
        else:
            send(handler, JPEG)

    base = serve(answer)
    assert load_image(f"{base}/ä photo.jpg?size=1&x=%20").shape == (20, 30, 3)
    assert load_image(f"{base}/moved").shape == (20, 30, 3)
    assert paths == ["/%C3%A4%20photo.jpg?size=1&x=%20", "/moved", "/a%20photo.jpg"]


def test_body_without_announced_length(serve: Serve) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(JPEG)

    assert load_image(serve(answer)).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("status", "headers", "body", "text"),
    [
        (404, {}, b"", "HTTP 404: there is nothing at this address"),
        (403, {}, b"", "HTTP 403: access is refused"),
        (401, {}, b"", "HTTP 401: it wants a login"),
        (503, {}, b"", "HTTP 503"),
        (302, {"Location": "/again"}, b"", "it redirects in circles"),
        (302, {"Location": "file:///etc/hostname"}, b"", "is not allowed"),
        (302, {"Location": "ftp://127.0.0.1/a.jpg"}, b"", "ftp"),
        (200, {}, b"<!doctype html><html>", "a web page, not a picture"),
        (200, {}, b"", "empty"),
        (200, {}, JPEG[:-9], "the end of this JPEG is missing"),
        (200, {"Content-Length": str(len(JPEG) + 9)}, JPEG, "the connection was cut"),
        (200, {"Content-Length": str(2**40)}, b"", "larger than the limit of 64 MiB"),
    ],
)
def test_answers_that_are_no_picture(
    serve: Serve, status: int, headers: dict[str, str], body: bytes, text: str
) -> None:
    base = serve(lambda handler: send(handler, body, status, **headers))
    with pytest.raises(InputError) as caught:
        load_image(f"{base}/a.jpg", timeout=5)
    message = str(caught.value)
    assert message.startswith(f"{base}/a.jpg: ") and text in message and "\n" not in message


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:1/a.jpg", "the host refuses the connection"),
        ("http://no-such-host.invalid/a.jpg", "the host's name is not known"),
        ("http://[broken/a.jpg", "is no host"),
        ("http:///a.jpg", "names no host"),
        ("http://127.0.0.1:99999999/a.jpg", "the port must be 1 to 65535"),
    ],
)
def test_addresses_that_do_not_answer(url: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_image(url, timeout=5)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def slow_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:  # never long enough without a byte for a timeout between two of them
        handler.wfile.write(b"x")
        time.sleep(0.02)


def slow_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.02)


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)  # until the client hangs up


@pytest.mark.parametrize("answer", [slow_body, slow_headers, silent])
def test_total_time_is_limited(serve: Serve, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"not read within 0\.4 s|no answer in time"):
        fetch_bytes(serve(answer), timeout=0.4, max_bytes=1 << 20)
    assert time.monotonic() - began < 2
    # The thread that waited is let go as well.
    deadline = time.monotonic() + 3
    while any(thread.name == "edgessd-fetch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_endless_body_ends_at_the_limit(serve: Serve) -> None:
    with pytest.raises(InputError, match="larger than the limit of 1 MiB"):
        fetch_bytes(serve(endless_body), timeout=20, max_bytes=1 << 20)


def test_a_body_of_exactly_the_limit_is_taken(serve: Serve) -> None:
    base = serve(lambda handler: send(handler, bytes(1000)))
    assert fetch_bytes(base, timeout=5, max_bytes=1000) == bytes(1000)
    with pytest.raises(InputError, match="larger"):
        fetch_bytes(base, timeout=5, max_bytes=999)


def hit(handler: BaseHTTPRequestHandler) -> None:
    send(handler, (handler.headers.get("Authorization") or "nobody").encode())


LOGIN = "Basic " + base64.b64encode("mé:p#s/ @".encode()).decode()


def with_login(base: str) -> str:
    return base.replace("://", "://m%C3%A9:p%23s%2F%20%40@")


def test_login_is_sent_decoded_as_basic_auth(serve: Serve) -> None:
    assert fetch_bytes(with_login(serve(hit)), timeout=5, max_bytes=100) == LOGIN.encode()


def test_login_follows_redirects_to_the_same_place_only(serve: Serve) -> None:
    other = serve(hit)  # another port is another host

    def answer(handler: BaseHTTPRequestHandler) -> None:
        targets = {"/same": "/x", "/other": f"{other}/x", "/offered": with_login(other)}
        if handler.path in targets:
            send(handler, b"", 307, Location=targets[handler.path])
        else:
            hit(handler)

    base = with_login(serve(answer))
    assert fetch_bytes(f"{base}/same", timeout=5, max_bytes=100) == LOGIN.encode()
    assert fetch_bytes(f"{base}/other", timeout=5, max_bytes=100) == b"nobody"
    assert fetch_bytes(f"{base}/offered", timeout=5, max_bytes=100) == b"nobody"


def test_refused_login(serve: Serve) -> None:
    base = serve(lambda handler: send(handler, b"", 401))
    with pytest.raises(InputError, match="HTTP 401: the login is refused") as caught:
        fetch_bytes(with_login(base), timeout=5, max_bytes=100)
    assert str(caught.value).startswith(base)


def test_many_small_parts_take_no_longer_than_their_number(serve: Serve) -> None:
    """Each part was once added to a sum over all parts before it."""
    count = 20_000

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(b"2\r\nab\r\n" * count + b"0\r\n\r\n")

    assert fetch_bytes(serve(answer), timeout=20, max_bytes=2 * count) == b"ab" * count


@pytest.mark.parametrize("end", [b"", b"5\r\nab", b"zz\r\n"])
def test_chunks_that_break_off(serve: Serve, end: bytes) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" + end)

    with pytest.raises(InputError, match="the connection was cut"):
        fetch_bytes(serve(answer), timeout=5, max_bytes=100)


@pytest.mark.parametrize(("encoding", "packer"), [("gzip", gzip.compress), ("DEFLATE", zlib.compress)])
def test_compressed_body(serve: Serve, encoding: str, packer: Callable[[bytes], bytes]) -> None:
    packed = packer(bytes(300_000))
    base = serve(lambda handler: send(handler, packed, Content_Encoding=encoding))
    assert fetch_bytes(base, timeout=5, max_bytes=300_000) == bytes(300_000)
    with pytest.raises(InputError, match="larger than the limit"):
        fetch_bytes(base, timeout=5, max_bytes=299_999)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (gzip.compress(b"abc", mtime=0)[:-2], "the connection was cut"),
        (b"no gzip at all", "its compression is damaged"),
    ],
)
def test_compressed_body_that_is_damaged(serve: Serve, body: bytes, text: str) -> None:
    base = serve(lambda handler: send(handler, body, Content_Encoding="gzip"))
    with pytest.raises(InputError, match=text):
        fetch_bytes(base, timeout=5, max_bytes=100)


def test_endless_body_of_a_redirect_is_not_read(serve: Serve) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/end":
            send(handler, b"end")
            return
        handler.send_response(302)
        handler.send_header("Location", "/end")
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    assert fetch_bytes(serve(answer), timeout=5, max_bytes=100) == b"end"


def test_proxy_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def proxy(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers.get("Proxy-Authorization")))
        send(handler, b"by proxy")

    monkeypatch.setenv("http_proxy", serve(proxy).replace("://", "://who:pw@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetch_bytes("http://camera.invalid/a b.jpg?x=1", timeout=5, max_bytes=100) == b"by proxy"
    assert seen == [("http://camera.invalid/a%20b.jpg?x=1", "Basic d2hvOnB3")]
    assert fetch_bytes(serve(hit), timeout=5, max_bytes=100) == b"nobody"  # no_proxy


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        ("http://who:s3cret@127.0.0.1:1", "the host refuses the connection"),
        ("http://who:s3#cret@h", "percent-encoded|as %40"),
        ("socks5://who:s3cret@h:1", "must be an http address, not socks5"),
    ],
)
def test_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: str, text: str) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    with pytest.raises(InputError, match=text) as caught:
        fetch_bytes(f"{scheme}://camera.invalid/a.jpg", timeout=5, max_bytes=100)
    assert "cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    certificate = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "-",
            "-out",
            "-",
            "-subj",
            "/CN=camera",
        ],
        capture_output=True,
        check=True,
    ).stdout
    (tmp_path / "both.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as sock, contextlib.suppress(OSError):
                context.wrap_socket(sock, server_side=True)

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(InputError, match="its certificate is not valid") as caught:
            fetch_bytes(f"https://127.0.0.1:{server.getsockname()[1]}/?token=s3cret", timeout=5, max_bytes=100)
        thread.join()
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_sent_is_not_shown(serve: Serve) -> None:
    address = replace(Address.parse(serve(hit)), token="s3cret\u20ac")
    with pytest.raises(InputError, match="a character in address or login cannot be sent") as caught:
        post_json(address, b"{}", timeout=5)
    assert "cret" not in "".join(traceback.format_exception(caught.value))


def test_https_where_http_is_spoken(serve: Serve) -> None:
    with pytest.raises(InputError, match=r"no secure connection|the connection was cut"):
        fetch_bytes(serve(hit).replace("http", "https"), timeout=5, max_bytes=100)


def test_tracebacks_show_nothing(serve: Serve) -> None:
    """A program of somebody else's prints what `raise` brings: no cause may hold the address."""
    base = serve(lambda handler: handler.wfile.write(b"nonsense\r\n"))
    for url in (f"{with_login(base)}?token=s3cret", "http://me:s3cret@127.0.0.1:1/?sig=s3cret"):
        with pytest.raises(InputError) as caught:
            load_image(url, timeout=5)
        text = "".join(traceback.format_exception(caught.value))
        assert "s3cret" not in text and "p%23s" not in text
