"""Standard output that takes no more."""

import contextlib
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgessd.io import streams
from edgessd.io.streams import _safe, _Tolerant, finish, trouble

pytestmark = pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")


def tolerant(descriptor: int, encoding: str = "utf-8") -> io.TextIOWrapper:
    raw = _Tolerant(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_a_reader_that_goes_away_is_noticed_and_does_not_matter(pipe, monkeypatch):
    stream = tolerant(pipe[1])
    stream.write("one\n")
    os.close(pipe[0])
    for _ in range(3):
        stream.write("more\n")
    assert isinstance(trouble(stream), BrokenPipeError)
    monkeypatch.setattr("sys.stdout", stream)
    assert finish() is None


def test_a_full_disk_is_told(monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    place = os.open("/dev/full", os.O_WRONLY)
    try:
        stream = tolerant(place)
        stream.write("x" * 100_000 + "\n")
        assert trouble(stream).errno == errno.ENOSPC
        monkeypatch.setattr("sys.stdout", stream)
        assert finish() == "cannot write to standard output: No space left on device"
    finally:
        os.close(place)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_name_can_be_printed(pipe, encoding):
    stream = tolerant(pipe[1], encoding)
    stream.write("größe日本 caf\udce9.jpg\n")
    assert b"caf\\udce9.jpg" in os.read(pipe[0], 1000) and trouble(stream) is None


def test_streams_of_others_stay_as_they_are():
    other = io.StringIO()
    assert _safe(other, 1) is other and trouble(other) is None
    with _safe(None, 1) as nowhere:
        nowhere.write("a")


def test_closed_streams_are_not_given_to_the_first_file(tmp_path):
    code = """
import os, sys
from edgessd.io import streams
streams.take_over()
file = open("a.txt", "w")
print("to nobody"); print("to nobody", file=sys.stderr)
sys.exit(file.fileno() > 2 and streams.finish() is None)
"""
    command = f"{sys.executable} -c '{code}' <&- >&- 2>&-"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 1
    assert (tmp_path / "a.txt").read_text() == ""


def test_nothing_is_asked_of_a_stream_without_a_descriptor(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert streams.finish() is None
