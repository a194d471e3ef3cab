"""Temporary files of runs that were killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgessd.io import leftovers
from edgessd.io.files import write_text_atomic
from edgessd.io.leftovers import sweep, temporary_beside

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
MOOV = b"\0\0\0\x10ftypisom\0\0\2\0" + b"\0\0\0\x08moov" + bytes(5000)


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_swept", set())


def of_a_dead_process(name: Path, pid: int | None = None) -> Path:
    """Return the temporary name that a process which is gone would have chosen."""
    child = subprocess.Popen(["true"]) if pid is None else None
    if child is not None:
        child.wait()
        pid = child.pid
    made = temporary_beside(name)
    leftovers._swept.clear()
    return made.with_name(re.sub(r"-\d+-\d+-", f"-{pid}-5-", made.name))


@linux
def test_files_and_folders_of_dead_processes_go_and_others_stay(tmp_path: Path) -> None:
    dead = of_a_dead_process(tmp_path / "report.png")
    dead.write_text("half")
    folder = of_a_dead_process(tmp_path / "bundle")
    folder.mkdir()
    (folder / "a").touch()
    mine = temporary_beside(tmp_path / "mine.png")
    strange = [tmp_path / name for name in (".report.png", ".report.1a2b3c4d.png", "a.edgessd-1-2-3.png", ".git")]
    for path in (mine, *strange):
        path.write_text("")
    leftovers._swept.clear()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, *strange])


@linux
def test_a_process_number_that_is_used_again_is_no_sign_of_life(tmp_path: Path) -> None:
    left = of_a_dead_process(tmp_path / "a.png", pid=os.getpid())
    left.touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_process_that_lives_keeps_its_files(tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
from pathlib import Path
from edgessd.io.leftovers import temporary_beside
temporary_beside(Path({str(tmp_path)!r}) / "clip.mp4").write_bytes({MOOV!r}); print(flush=True); input()""",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (name,) = tmp_path.iterdir()
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [name]
        process.send_signal(signal.SIGKILL)
        process.wait()
    leftovers._swept.clear()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.recovered.mp4"]


def test_files_of_another_machine_wait_a_day(tmp_path: Path) -> None:
    left = tmp_path / ".a.edgessd-000000-5-6-01234567.png"
    left.touch()
    sweep(tmp_path)
    assert left.exists()
    then = time.time() - 25 * 3600
    os.utime(left, (then, then))
    leftovers._swept.clear()
    sweep(tmp_path)
    assert not left.exists()


@linux
@pytest.mark.parametrize(
    ("name", "data", "kept"),
    [
        ("clip.mp4", MOOV, MOOV),
        ("clip.mp4", b"\0\0\0\x10ftypisom\0\0\2\0" + b"\0\0\x20\0mdat" + bytes(9000), None),  # no index yet
        ("clip.mp4", b"", None),
        ("clip.avi", bytes(5000), bytes(5000)),
        ("out.jsonl", b'{"a": 1}\n{"a": ', b'{"a": 1}\n'),
        ("out.jsonl", b'{"a": ', None),
    ],
)
def test_what_is_worth_it_is_kept_under_a_name(
    tmp_path: Path, name: str, data: bytes, kept: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    of_a_dead_process(path).write_bytes(data)
    sweep(tmp_path)
    found = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    expected = path.with_name(f"{path.stem}.recovered{path.suffix}").name
    assert found == ({} if kept is None else {expected: kept})
    assert len(caplog.messages) == (kept is not None)


@linux
def test_recovered_files_are_numbered(tmp_path: Path) -> None:
    for _ in range(3):
        of_a_dead_process(tmp_path / "a.avi").write_bytes(bytes(5000))
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.recovered.avi", "a.recovered-2.avi", "a.recovered-3.avi"
    }  # fmt: skip


@linux
def test_the_next_write_into_a_folder_clears_it(tmp_path: Path) -> None:
    of_a_dead_process(tmp_path / "a.png").touch()
    write_text_atomic(tmp_path / "b.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
