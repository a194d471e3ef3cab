"""Secrets from files and the environment."""

from pathlib import Path

import pytest

from edgessd.errors import OptionError
from edgessd.io.address import Address
from edgessd.options.secrets import read_secret, source_with_password, with_password


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbffrom file \r\n")
    return tmp_path / "secret"


def test_file_then_named_file_then_variable(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_secret("web-token") is None
    monkeypatch.setenv("EDGESSD_WEB_TOKEN", "")
    assert read_secret("web-token") is None
    monkeypatch.setenv("EDGESSD_WEB_TOKEN", "from variable")
    assert read_secret("web-token") == "from variable"
    (tmp_path / "named").write_text("from named file")
    monkeypatch.setenv("EDGESSD_WEB_TOKEN_FILE", str(tmp_path / "named"))
    assert read_secret("web-token") == "from named file"
    assert read_secret("web-token", file) == "from file "


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"a\0b", None])
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=r"^--x-password-file .*secret: ") as caught:
        read_secret("x-password", path)
    assert "\n" not in str(caught.value) and "lines" not in str(caught.value)
    monkeypatch.setenv("EDGESSD_X_PASSWORD_FILE", str(path))
    with pytest.raises(OptionError, match=r"^EDGESSD_X_PASSWORD_FILE "):
        read_secret("x-password")


def test_password_of_an_address(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESSD_X_PASSWORD", "p@w")
    none, own = Address.parse("rtsp://me@cam/"), Address.parse("rtsp://me:own@cam/")
    assert with_password(none, "x-password").with_login == "rtsp://me:p%40w@cam/"
    assert with_password(own, "x-password") == own
    assert with_password(own, "x-password", file).password == "from file "
    with pytest.raises(OptionError, match=r"^rtsp://cam:9/a: a password needs a user: rtsp://USER@cam:9$"):
        with_password(Address.parse("rtsp://cam:9/a"), "x-password")


@pytest.mark.parametrize("source", ["0", "demo", "a@b.mp4", "file:///a.mp4", "videotestsrc ! appsink"])
def test_sources_without_a_login_stay(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESSD_SOURCE_PASSWORD", "pw")
    assert source_with_password(source) == source


def test_source_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESSD_SOURCE_PASSWORD", "p#w")
    assert source_with_password("rtsp://me@cam/live") == "rtsp://me:p%23w@cam/live"
    with pytest.raises(OptionError, match="%23"):
        source_with_password("rtsp://me:s3#cret@cam/live")
