"""Every command in the documentation exists and takes the options that the page gives it."""

import ast
import importlib
import re
import tomllib

import pytest
import typer

from edgessd.cli.app import app as edgessd_app

from .blocks import ROOT, all_blocks, commands, inline_code, ours, pages

BLOCKS = all_blocks()
GROUP = typer.main.get_command(edgessd_app)
CAMERA = GROUP.commands["camera"]
# Options of other programs that the running text names.
OTHERS = {
    "--cpu",
    "--multi_gpu",
    "--num_processes",
    "--system-site-packages",
    "--offline",
    "--list-cameras",
    "--strict",
}


def options_of(command):
    return {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


def find(program, words):
    """Return the command and its arguments. `edgessd --version` has no command."""
    if program == "camera":
        return CAMERA, words
    if not words or words[0].startswith("-"):
        return GROUP, words
    assert words[0] in GROUP.commands, f"there is no command edgessd {words[0]}"
    return GROUP.commands[words[0]], words[1:]


def check_names(program, words):
    command, rest = find(program, words)
    known = options_of(command)
    for word in rest:
        option = word.lstrip("[").partition("=")[0].rstrip("].,")
        if re.fullmatch(r"--?[a-zA-Z][\w-]*", option) and option != "--debug":
            assert option in known, f"edgessd {command.name} has no option {option}"


def check_whole(program, words):
    """Parse as the program itself does: types, ranges, what is required."""
    check_names(program, words)
    command, rest = find(program, words)
    if command is GROUP or "--help" in rest:
        return
    try:
        command.make_context(command.name, [word for word in rest if word not in ("...", "--debug")])
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's, or typer's own copy of it
            raise
        pytest.fail(f"edgessd {' '.join(words)}: {error.format_message()}")


def check_script(words):
    """A program of this repository exists, and its source knows the options."""
    for number, word in enumerate(words[:2]):
        if re.fullmatch(r"(benchmarks|scripts|recipes|tests)/[\w/]+\.(py|sh)", word):
            source = (ROOT / word).read_text(encoding="utf-8")
            for option in (each for each in words[number + 1 :] if each.startswith("--")):
                assert f'"{option}"' in source or f"{option})" in source, f"{word} has no option {option}"


def check_make(words):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for word in words[1:]:
        if "=" not in word:
            assert word in targets, f"there is no target {word} in the Makefile"


def check_pip(words):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        match = re.search(r"edgessd[\w.-]*(?:\.whl)?\[([\w,-]+)\]", word)
        for extra in match[1].split(",") if match else ():
            assert extra in extras, f"edgessd has no extra {extra}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=lambda block: block.name)
def test_commands_and_options_of_a_shell_block_exist(block):
    for words in commands(block.text):
        found = ours(words)
        if found is not None and block.kind == "usage":
            check_names(*found)
        elif found is not None:
            check_whole(*found)
        elif words and words[0] == "make":
            check_make(words)
        elif "pip" in words[:4]:
            check_pip(words)
        else:
            check_script(words)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.name
)
def test_what_a_python_block_imports_exists(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edgessd"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_and_options_in_running_text_exist(page):
    everything = options_of(GROUP) | options_of(CAMERA) | OTHERS
    for command in GROUP.commands.values():
        everything |= options_of(command)
    for span in inline_code(page):
        found = ours(span.split())
        if found is not None:
            check_names(*found)
            continue
        if span.startswith("--"):
            option = re.match(r"--[\w-]*", span)[0]
            assert option in everything, f"no command has the option {option} of `{span}`"
        elif span.startswith("make "):
            check_make(span.split())
        elif span.startswith("pip install"):
            check_pip(span.split())
