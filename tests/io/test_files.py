import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgessd.errors import InputError
from edgessd.io.files import (
    atomic_write,
    check_writable,
    open_log,
    printable,
    put_in_place,
    scratch_folder,
    write_bytes_atomic,
    write_text_atomic,
    writing,
)
from edgessd.io.folders import new_folder


def test_file_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with atomic_write(target) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == tmp_path
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_text_and_bytes(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a", "ä\nline\n")
    assert (tmp_path / "a").read_bytes() == "ä\nline\n".encode()
    write_text_atomic(tmp_path / "a", "name \udcff")  # a file name that is no UTF-8
    assert (tmp_path / "a").read_bytes() == rb"name \udcff"
    write_bytes_atomic(tmp_path / "a", b"\0\1")
    assert (tmp_path / "a").read_bytes() == b"\0\1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing/out.txt", "there is no folder"),
        (".", "is a folder"),
        ("folder", "is a folder"),
        ("x" * 300, "cannot write"),
    ],
)
def test_targets_that_cannot_be_written(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as caught:
        write_text_atomic(tmp_path / name, "")
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission"):
        write_text_atomic(tmp_path / "a", "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b.jpg", "a b.jpg"), ("a\n\x1b[31mb", "a??[31mb"), ("\udcff", "?"), ("é\u2028", "é?")],
)
def test_names_in_messages_are_one_printable_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert len(printable("x" * 10_000)) < 250


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


posix = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


@posix
@pytest.mark.parametrize(("mask", "usual"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_new_files_have_the_users_usual_mode(tmp_path: Path, mask: int, usual: int) -> None:
    with umask(mask):
        write_text_atomic(tmp_path / "plain", "")
        with atomic_write(tmp_path / "private") as temporary:  # as safetensors makes its files
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        with new_folder(tmp_path / "folder") as folder:
            (folder / "a").touch()
    assert mode(tmp_path / "plain") == mode(tmp_path / "private") == usual
    assert mode(tmp_path / "folder") == usual | (usual & 0o444) >> 2


@posix
@pytest.mark.parametrize("old", [0o600, 0o640, 0o666, 0o755])
def test_the_mode_of_what_is_replaced_stays(tmp_path: Path, old: int) -> None:
    target = tmp_path / "a"
    target.touch()
    target.chmod(old)
    write_text_atomic(target, "new")
    assert (mode(target), target.read_text()) == (old, "new")


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, there: bool) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.json", tmp_path / "link.json"
    if there:
        real.write_text("old")
    link.symlink_to(Path("disk") / "real.json")
    with atomic_write(link) as temporary:
        assert temporary.parent == real.parent  # a rename works within one disk
        temporary.write_text("new")
    assert link.is_symlink() and real.read_text() == "new"
    assert [path.name for path in real.parent.iterdir()] == ["real.json"]


@posix
def test_a_link_to_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with new_folder(tmp_path / "link") as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a").exists()


@posix
def test_a_link_that_leads_nowhere_or_round_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("no/such/folder/a")
    (tmp_path / "round").symlink_to("round")
    for name in ("gone", "round"):
        with pytest.raises(InputError):
            write_text_atomic(tmp_path / name, "")


@posix
def test_a_device_or_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text_atomic(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_link_to_a_pipe_without_a_name_is_written_to() -> None:
    """`--json /dev/stdout | jq`: the link leads to `pipe:[1234]`, which is no file."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    reader, writer = os.pipe()
    with open(reader, "rb") as file:  # noqa: PTH123
        write_text_atomic(f"/proc/self/fd/{writer}", "text")
        os.close(writer)
        assert file.read() == b"text"


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(InputError, match="cannot write /dev/full: No space left"):
        write_text_atomic("/dev/full", "text")
    target = tmp_path / "a"
    target.write_text("old")

    def full(descriptor: int) -> None:  # some file systems say it no earlier
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_text_atomic(target, "new")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_what_takes_its_place_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    write_text_atomic(tmp_path / "a", "text")
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]
    synced.clear()
    with new_folder(tmp_path / "folder") as folder:
        (folder / "b").touch()
    assert {(tmp_path / "folder" / "b").stat().st_ino, (tmp_path / "folder").stat().st_ino} <= set(synced)


def test_only_refusals_about_the_target_become_ours(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    target = tmp_path / "out.json"
    with pytest.raises(InputError, match=r"cannot write .*out\.json: No such file"), writing(target):
        (tmp_path / "none.json").rename(target)
    with pytest.raises(FileNotFoundError), writing(target):
        (tmp_path / "in" / "picture.jpg").read_bytes()
    for error in (ValueError("of the block"), UnicodeError("of the block")):
        with pytest.raises(type(error)), writing(target):
            raise error
        with pytest.raises(type(error)), new_folder(tmp_path / "new"):
            raise error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_nul_in_a_name_is_one_line(tmp_path: Path) -> None:
    for write in (lambda path: write_text_atomic(path, ""), check_writable, lambda path: new_folder(path).__enter__()):
        with pytest.raises(InputError, match="NUL"):
            write(tmp_path / "a\0b")


def test_put_in_place_within_a_scratch_folder(tmp_path: Path) -> None:
    target = tmp_path / "model.xml"
    with scratch_folder(target) as folder:
        assert folder.parent == tmp_path and folder.name.startswith(".model.")
        (folder / "a.xml").write_text("new")
        put_in_place(folder / "a.xml", target)
    assert list(tmp_path.iterdir()) == [target]


def test_no_place_for_temporary_files_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    with pytest.raises(InputError, match="set TMPDIR"), scratch_folder():
        pass


@pytest.mark.parametrize(
    ("before", "kept"), [("", ""), ("1\n2\n", "1\n2\n"), ("1\n2", "1\n"), ("half", ""), ("a\n" + "b" * 200_000, "a\n")]
)
def test_a_log_goes_on_behind_its_last_whole_line(tmp_path: Path, before: str, kept: str) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text(before)
    with open_log(path, append=True) as file:
        file.write("new\n")
    assert path.read_text() == kept + "new\n"
    with open_log(path, append=False) as file:
        file.write("new\n")
    assert path.read_text() == "new\n"
