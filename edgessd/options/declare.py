"""How a struct declares options, and how one value is held against its declaration."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from edgessd.errors import OptionError, did_you_mean, printable

NO_DEFAULT = msgspec.NODEFAULT
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Option:
    """What is said about a field of a struct beside its type and limits (`msgspec.Meta`).

    help: one sentence. short: a letter for the command line, `-o`. panel: the heading that it stands below.
    metavar: what the help writes for the value. env: the environment variable that gives it. secret: it is never
    printed. address: of a login in it only the rest is printed. commas: the command line takes the list as one word.
    argument: the command line takes the list without the option's name. file: a text that names a file; a relative
    one in a TOML file counts from that file's folder: `always`, or `there` where something of that name lies there
    (`sum`: several of them, joined by `+`).
    """

    help: str
    short: str | None = None
    panel: str | None = None
    metavar: str | None = None
    env: str | None = None
    secret: bool = False
    address: bool = False
    commas: bool = False
    argument: bool = False
    file: Literal["always", "there", "sum"] | None = None

    def below(self, panel: str) -> Option:
        """The same, below this heading."""
        return replace(self, panel=panel)


@dataclass(frozen=True)
class Field:
    """One declared option.

    attribute: its name in the struct; key: in a file. type: with None and limits, as declared; kind: the bare type.
    lowest, highest: limits of a number. words: all values of a Literal.
    """

    attribute: str
    key: str
    type: Any
    kind: Any
    default: Any
    option: Option
    lowest: float | None = None
    highest: float | None = None
    words: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def metavar(self) -> str:
        """What stands for its value in a help or an example."""
        made = "|".join(self.words) or {int: "N", float: "N", Path: "FILE"}.get(self.kind, "TEXT")
        return self.option.metavar or made


@functools.cache
def describe(struct: type[Struct]) -> tuple[Field, ...]:
    """Return the options that a struct declares, in its order. A field without an `Option` is one without help."""
    return tuple(_field(info) for info in msgspec.structs.fields(struct))


def _field(info: msgspec.structs.FieldInfo) -> Field:
    notes = list(_notes(info.type))
    limits = [note for note in notes if isinstance(note, Meta)]
    bare = _bare(info.type)
    made = info.default_factory is not NO_DEFAULT
    return Field(
        info.name,
        info.encode_name,
        info.type,
        bare,
        info.default_factory() if made else info.default,
        next((note for note in notes if isinstance(note, Option)), Option("")),
        lowest=next((limit.ge for limit in limits if limit.ge is not None), None),
        highest=next((limit.le for limit in limits if limit.le is not None), None),
        words=get_args(bare) if get_origin(bare) is Literal else (),
    )


def _parts(declared: Any) -> list[Any]:
    """The members of a union, None left out; any other type is its own only member."""
    union = get_origin(declared) in (Union, types.UnionType)
    return [part for part in get_args(declared) if part is not type(None)] if union else [declared]


def _notes(declared: Any) -> Iterator[Any]:
    """What `Annotated` says, outside and inside of a union."""
    if get_origin(declared) is Annotated:
        yield from declared.__metadata__
        yield from _notes(declared.__origin__)
    elif declared not in (parts := _parts(declared)):
        for part in parts:
            yield from _notes(part)


def _bare(declared: Any) -> Any:
    """The type without `Annotated` and None."""
    while get_origin(declared) is Annotated:
        declared = declared.__origin__
    parts = _parts(declared)
    return declared if len(parts) != 1 or parts[0] is declared else _bare(parts[0])


def find(struct: type[Struct], key: str, where: str) -> Field:
    """Return the option of this key. Raises OptionError that begins with `where`, with the nearest keys."""
    fields = {field.key: field for field in describe(struct)}
    if key not in fields:
        raise OptionError(f"{where}: there is no option {printable(key)}{did_you_mean(key, fields)}")
    return fields[key]


def check(field: Field, value: Any, where: str) -> Any:
    """Return the value in the field's type. Raises OptionError that begins with `where` and says what is expected.

    An integer does for a fraction, and for a text (`source = 0`, `web = 8000`); nothing else is turned into something
    else. Numbers are finite.
    """
    if field.kind is str and type(value) is int:
        value = str(value)
    texts = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise OptionError(f"{where}: a text with a NUL in it")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise OptionError(f"{where}: {printable(value, 40)} is beyond 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{where}: expected a finite number, got {value}")
    try:
        return msgspec.convert(value, field.type, dec_hook=_path)
    except msgspec.ValidationError as error:
        if field.words and isinstance(value, str):
            near = did_you_mean(value, field.words)
            raise OptionError(f"{where}: {printable(value)!r}{near}: use {' or '.join(field.words)}") from None
        text = str(error).replace(" | null", "").replace("`null` or ", "")
        raise OptionError(f"{where}: {text[:1].lower()}{text[1:]}") from None


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
