import os
from pathlib import Path

import pytest

from edgessd.errors import InputError
from edgessd.io.files import atomic_write, printable, write_bytes_atomic, write_text_atomic


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
