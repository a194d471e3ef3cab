import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from edgessd._cv2 import cv2
from edgessd.errors import InputError
from edgessd.io.images import load_image
from edgessd.io.remote import fetch_bytes, is_url, shown_url, url_scheme

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
        ("http://[broken/a.jpg", "cannot be read"),
        ("http:///a.jpg", "cannot be read"),
        ("http://127.0.0.1:99999999/a.jpg", "cannot be read"),
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


@pytest.mark.parametrize(
    ("text", "scheme", "url"),
    [
        ("https://host/a.jpg", "https", True),
        ("HTTP://HOST/a", "http", True),
        ("rtsp://camera", "rtsp", False),
        ("photo.jpg", None, False),
        ("C:/photos/a.jpg", None, False),
        ("a:b.jpg", None, False),
    ],
)
def test_addresses_and_paths(text: str, scheme: str | None, url: bool) -> None:
    assert url_scheme(text) == scheme
    assert is_url(text) == url


def test_messages_show_no_password() -> None:
    assert shown_url("https://me:secret@host/a@b.jpg") == "https://host/a@b.jpg"
