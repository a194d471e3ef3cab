"""The options of a struct on the command line, in the environment and in a file are the same options."""

from pathlib import Path
from typing import Any, get_origin

import pytest
import typer

from edgessd.apps.benchmark.settings import Settings as BenchmarkSettings
from edgessd.apps.camera.settings import Settings
from edgessd.cli.app import app as edgessd
from edgessd.cli.struct_command import PanelCommand, struct_command
from edgessd.errors import EdgeSSDError, OptionError
from edgessd.options import Field, describe

FIELDS = describe(Settings)


class Seen:
    """An app of one command that keeps what it was given."""

    def __init__(self, struct: Any = Settings) -> None:
        self.settings: list[Any] = []
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command("camera", cls=PanelCommand)(struct_command(struct, self.settings.append))
        self.command: Any = typer.main.get_command(app)

    def __call__(self, *words: str) -> Any:
        self.command(list(words), standalone_mode=False)
        return self.settings.pop()


SEEN = Seen()
SEEN_BENCHMARK = Seen(BenchmarkSettings)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    for field in FIELDS:
        if field.option.env:
            monkeypatch.delenv(field.option.env, raising=False)
    return SEEN


def samples(field: Field) -> list[tuple[list[str], str]]:
    """Ways to give one option: words of the command line, and the same as a line of TOML."""
    flag, key = field.flag, field.key
    if field.kind is bool:
        return [([flag], f"{key} = true"), ([f"--no-{flag[2:]}"], f"{key} = false")]
    if field.kind in (int, float):
        lowest, highest = field.lowest or 0, field.highest if field.highest is not None else 7
        number = field.kind((lowest + highest) / 2) or 1
        return [([flag, f"{each}"], f"{key} = {each}") for each in {lowest, number, highest}]
    if get_origin(field.kind) is list and field.option.commas:
        return [([flag, "a, b c"], f'{key} = ["a", "b c"]'), ([f"{flag}=a"], f'{key} = ["a"]')]
    if field.option.argument:
        return [(["a", "/b c"], f'{key} = ["a", "/b c"]')]
    if get_origin(field.kind) is list:
        return [([flag, "a=1", flag, "b,2"], f'{key} = ["a=1", "b,2"]')]
    if field.words:
        return [([flag, word], f'{key} = "{word}"') for word in field.words]
    short = [([f"-{field.option.short}", "/a"], f'{key} = "/a"')] if field.option.short else []
    return [([flag, "/a b"], f'{key} = "/a b"'), *short]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_every_option_is_the_same_on_the_command_line_and_in_a_file(field: Field, seen: Seen, tmp_path: Path) -> None:
    file = tmp_path / "camera.toml"
    for words, line in samples(field):
        file.write_text(line)
        by_line, by_file = seen(*words), seen("--config", str(file))
        assert by_line == by_file
        assert type(getattr(by_line, field.attribute)) is type(getattr(by_file, field.attribute))
    assert any(seen(*words) != Settings() for words, _ in samples(field))


@pytest.mark.parametrize("field", describe(BenchmarkSettings), ids=lambda field: field.key)
def test_the_same_of_the_benchmark(field: Field, tmp_path: Path) -> None:
    file = tmp_path / "benchmark.toml"
    for words, line in samples(field):
        file.write_text(line)
        assert SEEN_BENCHMARK(*words) == SEEN_BENCHMARK("--config", str(file))
    assert any(SEEN_BENCHMARK(*words) != BenchmarkSettings() for words, _ in samples(field))


@pytest.mark.parametrize(("name", "struct"), [("camera", Settings), ("benchmark", BenchmarkSettings)])
def test_the_command_has_the_options_of_the_struct_and_no_other(name: str, struct: Any) -> None:
    command: Any = typer.main.get_command(edgessd)
    names = {param.name for param in command.commands[name].params}
    assert names == {field.attribute for field in describe(struct)} | {"config", "print_config"}


def test_nothing_given_is_the_struct_as_it_is(seen: Seen) -> None:
    assert seen() == Settings()


def test_command_line_before_environment_before_file(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "camera.toml"
    file.write_text('on_detect = ["cat"]\nline = ["a=1", "b=2"]\nloop = true\nmqtt = "mqtt://file"\n')
    config = ("--config", str(file))
    assert seen(*config).on_detect == ["cat"] and seen(*config).loop
    monkeypatch.setenv("EDGESSD_ON_DETECT", "dog,cow")
    monkeypatch.setenv("EDGESSD_MQTT", "")  # set, but to nothing: as a service writes what is not wanted
    assert seen(*config).on_detect == ["dog", "cow"] and seen(*config).mqtt == "mqtt://file"
    found = seen(*config, "--on-detect", "person", "--no-loop", "--line", "c=3")
    assert (found.on_detect, found.loop, found.line) == (["person"], False, ["c=3"])
    assert seen(*config).line == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-fps", "inf"], "--max-fps: expected a finite number"),
        (["--cooldown", "inf"], "--cooldown: expected a finite number"),
        (["--drawing", "owl"], "--drawing: 'owl' (did you mean 'own'?): use own or supervision"),
        (["--config", "no.toml"], "no.toml: No such file"),
    ],
)
def test_a_mistake_names_the_option(seen: Seen, words: list[str], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        seen(*words)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('size = "3x3"', "size 3x3: give width and height"),
        ('line = ["a=0,0,7,0"]', "line a=0,0,7,0: give NAME=x,y,x,y"),
        ('webhook = "https://host"', "webhook needs --on-detect CLASS"),
        ("home_assistant = true", "home_assistant needs --mqtt"),
        ('models = "nowhere"', "models {folder}/nowhere: no such folder"),
        ('json = "out.txt"', "json {folder}/out.txt: "),
    ],
)
def test_what_is_found_wrong_later_names_the_file_too(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "camera.toml"
    file.write_text(line)
    command: Any = typer.main.get_command(edgessd)
    with pytest.raises(EdgeSSDError) as caught:
        command(["camera", "--source", "demo", "--config", "camera.toml"], standalone_mode=False)
    assert str(caught.value).startswith("camera.toml: " + said.format(folder=tmp_path))
    file.write_text('size = "3x3"')
    with pytest.raises(EdgeSSDError, match=r"^--size 4x4: give"):  # not what the file said
        command(["camera", "--source", "demo", "--config", "camera.toml", "--size", "4x4"], standalone_mode=False)


def test_print_config_is_a_file_for_config(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGESSD_WEB_TOKEN", "s3cret-token")
    file = tmp_path / "camera.toml"
    seen.command(["--print-config", "--every", "3", "--zone", "a=0,0,1,0,1,1"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert seen.settings == [] and "s3cret" not in printed
    file.write_text(printed)
    monkeypatch.delenv("EDGESSD_WEB_TOKEN")
    assert seen("--config", str(file)) == Settings(every=3, zone=["a=0,0,1,0,1,1"])


def test_help_of_80_columns_groups_the_options(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    seen.command(["--help"], standalone_mode=False)
    output = capsys.readouterr().out
    panels = [line.rstrip(":") for line in output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert panels == [*dict.fromkeys(field.option.panel for field in FIELDS), "Options"]
    assert max(map(len, output.splitlines())) <= 80
    for field in FIELDS:
        assert field.flag in output
