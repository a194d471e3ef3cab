"""Options in a TOML file: reading them with every mistake named, and writing a file that says what each is."""

from __future__ import annotations

import glob
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

from msgspec import Struct

from edgessd._text import decode
from edgessd.errors import OptionError, printable
from edgessd.masking import masked_properties, shown_address
from edgessd.options.declare import NO_DEFAULT, Field, check, describe, find

_MOST = 1 << 20  # bytes of a file of options
_WIDTH = 110  # of a comment


def read_toml(path: Path, struct: type[Struct]) -> dict[str, Any]:
    """Return what a TOML file gives of the struct's options: attribute to value in the field's type.

    A relative path counts from the file's folder, and `~` is the home. Raises OptionError, one line with the
    file and the key, for a file that cannot be read, an unknown key, a wrong type, or a value out of its limits.
    """
    name = printable(path)
    values: dict[str, Any] = {}
    for key, value in _load(path, name).items():
        field = find(struct, key, name)
        values[field.attribute] = check(field, value, f"{name}: {key}")
    return located(struct, values, path.absolute().parent)


def located(struct: type[Struct], values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the values with relative paths in them put behind the folder; see `Option.file`."""
    fields = {field.attribute: field for field in describe(struct)}
    return {name: _located(fields[name], value, folder) for name, value in values.items()}


def _load(path: Path, name: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise OptionError(f"{name}: {getattr(error, 'strerror', None) or error}: give a TOML file") from None
    if len(data) > _MOST:
        raise OptionError(f"{name}: larger than 1 MiB: this is no file of options")
    try:
        return tomllib.loads(decode(data))
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no text, or a number of thousands of digits
        raise OptionError(f"{name}: no TOML: {printable(error)}") from None


def _located(field: Field, value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / os.path.expanduser(value)  # noqa: PTH111 (leaves a user that is none as it is)
    if isinstance(value, list | tuple) and field.option.file is not None:
        return type(value)(_located_text(field, each, folder) for each in value)
    if isinstance(value, str) and field.option.file is not None:
        return _located_text(field, value, folder)
    return value


def _located_text(field: Field, text: str, folder: Path) -> str:
    if field.option.file == "sum" and "+" in text:
        return "+".join(_located_text(field, part, folder) for part in text.split("+"))
    there = os.path.join(folder, os.path.expanduser(text))  # noqa: PTH111, PTH118 (`Path` takes // out of an address)
    if field.option.file == "always":
        return text if text in ("", "-") else there
    known = bool(text) and "\0" not in text and (os.path.exists(there) or bool(glob.glob(there)))  # noqa: PTH110, PTH207
    return there if known else text


def to_toml(struct: type[Struct], values: Mapping[str, Any], heading: str) -> str:
    """Return a TOML file with every option of a struct: its help as a comment, and its value.

    values: attribute to value. What has none, or only its default None, is commented out, as is a secret.
    """
    lines, panel = [f"# {line}" for line in heading.splitlines()], None
    for field in describe(struct):
        if field.option.panel != panel:
            panel = field.option.panel
            lines += ["", f"# --- {panel} ---"]
        value = values.get(field.attribute, field.default)
        lines += [*(f"# {line}" for line in _help(field)), _line(field, value)]
    return "\n".join(lines) + "\n"


def _help(field: Field) -> list[str]:
    words: list[str] = []
    for word in field.option.help.split():
        if words and len(words[-1]) + len(word) < _WIDTH:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _line(field: Field, value: Any) -> str:
    if value is None or value is NO_DEFAULT:
        return f"#{field.key} = {_example(field)}"
    if field.option.secret:
        return f'#{field.key} = "..."  # given, not shown'
    if field.option.address and (shown := masked_properties(shown_address(str(value)))) != str(value):
        return f"#{field.key} = {_literal(shown)}  # without its login"
    return f"{field.key} = {_literal(value)}"


def _literal(value: Any) -> str:
    """The value in TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(each) for each in value) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _example(field: Field) -> str:
    """What a value would look like."""
    if field.words:
        return " or ".join(map(_literal, field.words))
    if field.kind is bool:
        return "true or false"
    if field.kind in (int, float):
        return field.metavar
    if get_origin(field.kind) in (list, tuple):
        return _literal([field.metavar.partition("[")[0] or field.metavar])
    return _literal(field.metavar)
