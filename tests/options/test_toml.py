"""Every mistake in a file of options is one line with the file and the key; paths count from the file."""

import os
from pathlib import Path
from typing import Any

import pytest

from edgessd.apps.benchmark.settings import Settings as BenchmarkSettings
from edgessd.apps.camera.settings import Settings
from edgessd.errors import OptionError
from edgessd.options import describe, read_toml, to_toml


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "camera.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


BAD = {
    "unknown key": ("evry = 3", "there is no option evry (did you mean 'every'"),
    "key as on the command line": ("max-fps = 3", "there is no option max-fps (did you mean 'max_fps'"),
    "a table": ("[camera]\nevery = 3", "there is no option camera"),
    "text for a number": ('every = "3"', "every: expected `int`, got `str`"),
    "truth for a number": ("every = true", "every: expected `int`, got `bool`"),
    "fraction for a whole number": ("every = 1.5", "every: expected `int`, got `float`"),
    "number for truth": ("loop = 1", "loop: expected `bool`, got `int`"),
    "number for a path": ("output = 3", "output: expected `str`, got `int`"),
    "fraction for a text": ("size = 1.5", "size: expected `str`, got `float`"),
    "date for a text": ("model = 2026-01-01", "model: expected `str`"),
    "text for a list": ('classes = "person"', "classes: expected `array`, got `str`"),
    "number in a list": ("classes = [1]", "classes: expected `str`, got `int` - at `$[0]`"),
    "too small": ("every = 0", "every: expected `int` >= 1"),
    "too large": ("clip_before = 61", "clip_before: expected `float` <= 60"),
    "not a number": ("cooldown = nan", "cooldown: expected a finite number, got nan"),
    "beyond 64 bits": ("every = 9999999999999999999", "every: 9999999999999999999 is beyond 64 bits"),
    "thousands of digits": ("every = " + "9" * 5000, "no TOML: "),
    "a NUL": ('clips = "a\\u0000b"', "clips: a text with a NUL in it"),
    "a NUL in a list": ('classes = ["\\u0000"]', "classes: a text with a NUL in it"),
    "infinite": ("max_fps = inf", "max_fps: expected a finite number, got inf"),
    "no such word": ('drawing = "supervison"', "drawing: 'supervison' (did you mean 'supervision'?): use own or"),
    "no value": ("every =", "no TOML: "),
    "twice": ("every = 1\nevery = 2", "no TOML: "),
    "no text": (b"every = 1 # \xff", "no TOML: "),
    "deep": ("every = " + "[" * 5000, "no TOML: "),
    "a break in a key": ('"a\\nb" = 1', "there is no option a?b"),
    "huge": ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
}


@pytest.mark.parametrize("text, said", BAD.values(), ids=BAD)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_toml(written(tmp_path, text), Settings)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'camera.toml'}: ") and said in message and "\n" not in message


@pytest.mark.parametrize("name, said", [("none.toml", "No such file"), ("", "Is a directory"), ("a\0b", "null byte")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_toml(tmp_path / name, Settings)


def test_byte_order_mark_line_ends_and_whole_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfsource = 0\r\nweb = 8000\r\nmax_fps = 5\r\nclasses = []\r\n")
    assert read_toml(path, Settings) == {"source": "0", "web": "8000", "max_fps": 5.0, "classes": []}


def test_relative_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, home = tmp_path / "etc", tmp_path / "home"
    (folder / "shots [2024]").mkdir(parents=True)
    (folder / "street.mp4").touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    text = 'clips = "clips"\nsnapshots = "~/shots"\noutput = "/srv/out.mp4"\njson = "out.json"\ncsv = "-"\n'
    found = read_toml(written(folder, text), Settings)
    assert found == {
        "clips": folder / "clips",
        "snapshots": home / "shots",
        "output": Path("/srv/out.mp4"),
        "json_file": str(folder / "out.json"),
        "csv_file": "-",
    }
    for source in ("street.mp4", "shots [2024]", "*.mp4"):  # named by what lies beside the file
        assert read_toml(written(folder, f'source = "{source}"'), Settings) == {"source": str(folder / source)}
    for source in ("demo", "3", "rtsp://host/street.mp4", "a ! b ! appsink", "none.mp4", "x" * 5000):
        assert read_toml(written(folder, f'source = "{source}"'), Settings) == {"source": source}
    os.chdir(folder)
    assert read_toml(Path("camera.toml"), Settings) == {"source": "x" * 5000}
    written(folder, text)
    assert read_toml(Path("camera.toml"), Settings) == found


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    values = {
        "source": '/a "b"\\c\t\x7f\u2028é.mp4',
        "line": ["a=0,0,1,1", "b=0,1,1,0"],
        "classes": ["potted plant", "dog"],
        "max_fps": 1e-05 + 0.1,
        "output": Path("/tmp/out.mp4"),
        "window": False,
    }
    text = to_toml(Settings, values, "A heading.")
    defaults = {field.attribute: field.default for field in describe(Settings) if field.default is not None}
    assert read_toml(written(tmp_path, text), Settings) == {**defaults, **values}


ODD = ["0", "-1", "1e400", "nan", "''", "'x'", "'~nobody-here/x'", "'*'", "'['", "'+'", "'a+b'", "'-'", "'/'", "true"]
ODD += ["[]", "[1]", "['a']", "[['a']]", "{}", "1979-05-27", "9" * 30, '"a\\nb"']


@pytest.mark.parametrize("struct", [Settings, BenchmarkSettings], ids=["camera", "benchmark"])
def test_whatever_stands_behind_a_key_is_taken_or_named(struct: Any, tmp_path: Path) -> None:
    for number, field in enumerate(describe(struct)):
        for value in ODD[number % 3 :: 3]:
            file = written(tmp_path, f"{field.key} = {value}")
            try:
                found = read_toml(file, struct)
            except OptionError as error:
                said = str(error)
                assert said.startswith(f"{file}: {field.key}: ") and "\n" not in said
            else:
                struct(**found)
                again = read_toml(written(tmp_path, to_toml(struct, found, "")), struct)
                assert field.option.secret or field.option.address or again[field.attribute] == found[field.attribute]


def test_secrets_are_not_written(tmp_path: Path) -> None:
    values = {"web_token": "s3cret-token", "mqtt": "mqtt://me:s3cret@host/a", "source": "rtsp://me:s3cret@cam/live"}
    text = to_toml(Settings, values, "")
    assert "s3cret" not in text and '#mqtt = "mqtt://host/a"' in text and "#web_token" in text
    assert not {"web_token", "mqtt", "source"} & set(read_toml(written(tmp_path, text), Settings))


def test_every_option_has_a_help_and_its_file_comment_fits(tmp_path: Path) -> None:
    assert all(field.option.help.endswith(".") and field.option.panel for field in describe(Settings))
    assert max(map(len, to_toml(Settings, {}, "").splitlines())) <= 120
