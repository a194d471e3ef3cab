import hashlib
import multiprocessing
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgessd.errors import DownloadError
from edgessd.zoo import download
from edgessd.zoo.download import cache_folder, fetch

DATA = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
DIGEST = hashlib.sha256(DATA).hexdigest()
NAME = f"weights-{DIGEST[:8]}.pth"
PART = f"{NAME}.{DIGEST[:16]}.part"


class Server(ThreadingHTTPServer):
    """Serves `data`; how, the test says by the attributes."""

    daemon_threads = True
    data = DATA
    ranges = True  # whether it knows Range
    cut_after: int | None = None  # bytes of a body after which it hangs up
    status = 200
    announce = True  # whether it sends Content-Length
    content_range_416 = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []  # the Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models/{NAME}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "") if server.ranges else None
        start = int(match.group(1)) if match else 0
        if server.status != 200:
            self.send_error(server.status)
            return
        if match and start >= len(server.data):
            self.send_response(416)
            if server.content_range_416:
                self.send_header("Content-Range", f"bytes */{len(server.data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.data[start:]
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        if server.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.cut_after is None else body[: server.cut_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_first_call_fetches_and_later_ones_do_not(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    for _ in range(3):
        path = fetch(server.url, DIGEST[:8], cache=cache)
        assert path == cache / NAME and path.read_bytes() == DATA
    assert server.requests == [None]
    assert names(cache) == {NAME}


def test_name_can_be_given_and_case_of_digest_does_not_matter(server: Server, tmp_path: Path) -> None:
    path = fetch(server.url + "?download=true", DIGEST.upper(), "other.bin", cache=tmp_path)
    assert path.name == "other.bin"
    assert fetch(server.url + "?download=true", DIGEST, cache=tmp_path).name == NAME


def test_damaged_file_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(DATA[:-1])
    assert fetch(server.url, DIGEST[:8], cache=tmp_path).read_bytes() == DATA


def test_cut_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, DIGEST[:8], cache=tmp_path)
    assert "the connection was cut (100000 bytes are kept" in str(caught.value)
    assert names(tmp_path) == {f"{NAME}.{DIGEST[:8]}.part"}
    server.cut_after = None
    assert fetch(server.url, DIGEST[:8], cache=tmp_path).read_bytes() == DATA
    assert server.requests == [None, "bytes=100000-"]
    assert names(tmp_path) == {NAME}


def test_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / PART).write_bytes(DATA[:1000])
    assert fetch(server.url, DIGEST, cache=tmp_path).read_bytes() == DATA
    assert server.requests == ["bytes=1000-"]


def test_part_of_another_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(bytes(1000))
    assert fetch(server.url, DIGEST, cache=tmp_path).read_bytes() == DATA
    assert server.requests == ["bytes=1000-", None]


@pytest.mark.parametrize(
    ("part", "content_range", "requests"),
    [
        (DATA, True, [f"bytes={len(DATA)}-"]),  # whole, but the process ended before it could say so
        (DATA, False, [f"bytes={len(DATA)}-", None]),
        (DATA + b"x", True, [f"bytes={len(DATA) + 1}-", None]),
        (bytes(len(DATA)), True, [f"bytes={len(DATA)}-", None]),
    ],
)
def test_nothing_left_to_send(
    server: Server, tmp_path: Path, part: bytes, content_range: bool, requests: list[str | None]
) -> None:
    server.content_range_416 = content_range
    (tmp_path / PART).write_bytes(part)
    assert fetch(server.url, DIGEST, cache=tmp_path).read_bytes() == DATA
    assert server.requests == requests
    assert names(tmp_path) == {NAME}


def test_wrong_checksum_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, "00000000", cache=tmp_path)
    message = str(caught.value)
    assert f"SHA-256 {DIGEST[:8]}... instead of 00000000" in message and str(tmp_path / NAME) in message
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("status", "text"), [(404, "HTTP 404: there is nothing at this address"), (403, "HTTP 403"), (500, "HTTP 500")]
)
def test_http_errors(server: Server, tmp_path: Path, status: int, text: str) -> None:
    server.status = status
    with pytest.raises(DownloadError) as caught:
        fetch(server.url, DIGEST[:8], cache=tmp_path)
    message = str(caught.value)
    assert text in message and f"or put the file at {tmp_path / NAME} by hand" in message and "\n" not in message


@pytest.mark.parametrize(
    ("url", "digest", "name", "text"),
    [
        ("http://127.0.0.1:1/a.pth", DIGEST, None, "the host refuses the connection"),
        ("http://no-such-host.invalid/a.pth", DIGEST, None, "the host's name is not known"),
        ("ftp://host/a.pth", DIGEST, None, "only http and https"),
        ("file:///a.pth", DIGEST, None, "only http and https"),
        ("http://host/a.pth", "xyz", None, "is no SHA-256 prefix"),
        ("http://host/a.pth", "abc123", None, "is no SHA-256 prefix"),
        ("http://host/a.pth", "0" * 65, None, "is no SHA-256 prefix"),
        ("http://host/", DIGEST, None, "is no file name"),
        ("http://host/..", DIGEST, None, "is no file name"),
        ("http://host/a.pth", DIGEST, "../a.pth", "is no file name"),
        ("http://host/..%2fa.pth", DIGEST, "..\\a.pth", "is no file name"),
    ],
)
def test_what_cannot_be_fetched(tmp_path: Path, url: str, digest: str, name: str | None, text: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(url, digest, name, cache=tmp_path, timeout=5)
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert names(tmp_path) == set()


def test_name_from_the_address_stays_in_the_cache(server: Server, tmp_path: Path) -> None:
    path = fetch(server.url.replace(NAME, "..%2f..%2fescaped.pth"), DIGEST, cache=tmp_path)
    assert path == tmp_path / "escaped.pth"


def test_file_put_there_by_hand_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(DATA)
    assert fetch("http://no-such-host.invalid/a.pth", DIGEST[:8], cache=tmp_path).read_bytes() == DATA


def test_silent_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadError) as caught:
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/a.pth", DIGEST, cache=tmp_path, timeout=0.2)
    assert "no answer in time" in str(caught.value)


def test_endless_file_is_given_up(server: Server, tmp_path: Path) -> None:
    server.announce = False
    with pytest.raises(DownloadError, match="larger than 1000 bytes"):
        fetch(server.url, DIGEST, cache=tmp_path, max_bytes=1000)
    assert names(tmp_path) == set()
    assert fetch(server.url, DIGEST, cache=tmp_path, max_bytes=len(DATA)).read_bytes() == DATA


def test_cache_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(DownloadError, match="EDGESSD_CACHE"):
        fetch(server.url, DIGEST, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"EDGESSD_CACHE": "/own", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/own"),
        ({"EDGESSD_CACHE": "", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/edgessd"),
        ({"HOME": "/home/me"}, "/home/me/.cache/edgessd"),
    ],
)
def test_cache_folder(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("EDGESSD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def _fetch_in_process(url: str, cache: str) -> str:
    return hashlib.sha256(fetch(url, DIGEST, cache=cache, progress=False).read_bytes()).hexdigest()


def test_processes_at_once_fetch_one_whole_file(server: Server, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.starmap(_fetch_in_process, [(server.url, str(tmp_path))] * 6) == [DIGEST] * 6
        pool.close()
        pool.join()
    assert server.requests == [None]


def test_progress_is_shown_on_a_terminal_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.url, DIGEST, cache=tmp_path / "a")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(download.sys.stderr, "isatty", lambda: True)
    fetch(server.url, DIGEST, cache=tmp_path / "b", progress=False)
    assert capsys.readouterr() == ("", "")
    fetch(server.url, DIGEST, cache=tmp_path / "c")
    captured = capsys.readouterr()
    assert captured.out == "" and NAME in captured.err
