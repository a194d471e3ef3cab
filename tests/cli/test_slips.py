"""What people type by habit is answered with one line that says what to call."""

from pathlib import Path
from typing import Any

import pytest
import typer

from edgessd.cli.app import app
from edgessd.cli.slips import MEANT
from edgessd.errors import OptionError

GROUP: Any = typer.main.get_command(app)
WORDS = [(word, command) for command, words in MEANT.items() for word in words.split()]


def answer(*words: str) -> str:
    with pytest.raises(OptionError) as caught:
        GROUP(list(words), standalone_mode=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("word, command", WORDS)
def test_a_word_that_is_no_command_is_answered_with_the_command(word: str, command: str) -> None:
    assert answer(word, "more", "--epochs", "3") == f"there is no command {word}: use {command}"
    assert answer(word.upper()).endswith(f"use {command}")


def test_each_word_means_one_thing_and_is_no_command_itself() -> None:
    words = [word for word, _ in WORDS]
    assert len(set(words)) == len(words) and not set(words) & set(GROUP.commands)


@pytest.mark.parametrize("command", MEANT)
def test_the_command_that_is_named_exists_with_its_options(command: str) -> None:
    program, name, *rest = command.split()
    assert program == "edgessd" and (name in GROUP.commands or name in ("--help", "--version"))
    if name in GROUP.commands:
        known = {flag for param in GROUP.commands[name].params for flag in param.opts}
        assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize(
    ("words", "use"),
    [
        (["detect", "0"], "edgessd camera --source 0"),
        (["detect", "--save", "out", "0"], "edgessd camera --source 0"),
        (["detect", "webcam"], "edgessd camera --source 0"),
        (["detect", "/dev/video2"], "edgessd camera --source /dev/video2"),
        (["detect", "a.jpg", "rtsp://me:secret@cam/live"], "edgessd camera --source rtsp://cam/live"),
        (["detect", "v4l2src ! appsink"], "edgessd camera --source v4l2src ! appsink"),
        (["camera", "0"], "0 stands without an option: use edgessd camera --source 0"),
        (["camera", "--track", "rtsp://me:secret@cam/live"], "use edgessd camera --source rtsp://cam/live"),
        (["0"], "edgessd camera --source 0"),
        (["rtsp://me:secret@cam/live"], "edgessd camera --source rtsp://cam/live"),
        (["https://me:secret@host/a.jpg"], "edgessd detect https://host/a.jpg"),
        (["Detect", "a.jpg"], "use detect"),
        (["trian"], "did you mean 'train'?"),
        (["frobnicate"], "there is no command frobnicate: edgessd --help lists them"),
        (["a\nb\0"], "there is no command a?b?: edgessd --help lists them"),
    ],
)
def test_slips(words: list[str], use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = answer(*words)
    assert use in said and "secret" not in said


def test_a_file_or_folder_of_such_a_name_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").touch()
    (tmp_path / "camera").mkdir()
    for name in ("0", "camera"):
        with pytest.raises(Exception, match="no-such-model") as caught:
            GROUP(["detect", name, "--model", "no-such-model"], standalone_mode=False)
        assert "edgessd camera" not in str(caught.value)
    assert answer("0") == "there is no command 0: use edgessd detect 0"


def test_h_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-h"], ["detect", "-h"], ["camera", "-h"]):
        GROUP(words, standalone_mode=False)
        assert "Usage: " in capsys.readouterr().out
