"""A command whose options are the fields of a struct: parameters, `--config FILE`, `--print-config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import typer
import typer.core
from msgspec import Struct

from edgessd.errors import EdgeSSDError, OptionError, printable
from edgessd.io.address import shown_source
from edgessd.options import Field, check, describe, located, read_toml, to_toml

Settings = TypeVar("Settings", bound=Struct)

CONFIG_FILE = typer.Option(
    "--config", metavar="FILE", help="TOML file with these options; what the command line says goes first."
)
PRINT_CONFIG = typer.Option("--print-config", help="Print the options in force as such a file, and end.")


class PanelCommand(typer.core.TyperCommand):
    """A command whose help groups the options by their panels, without frames. Words too many are its own to refuse."""

    allow_extra_args = True

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            argument = param.param_type_name == "argument"
            panel = getattr(param, "rich_help_panel", None) or ("Arguments" if argument else "Options")
            if record is not None:
                panels.setdefault(panel, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def struct_command(
    struct: type[Settings], run: Callable[[Settings], None], bare: str | None = None
) -> Callable[..., None]:
    """Return a function for `typer.Typer.command` that has the struct's options, and calls `run` with them.

    An option's value comes from the command line, else the environment, else the file, else the struct. The name and
    the help are those of `run`. bare: the flag that a word without one is meant for, as its message says.
    """

    def command(context: typer.Context, **params: Any) -> None:
        if context.args:
            word = shown_source(context.args[0])
            use = f": use edgessd {context.command.name} {bare} {word}" if bare else ""
            raise OptionError(f"{word} stands without an option{use}")
        config: Path | None = params["config"]
        in_file = {} if config is None else read_toml(config, struct)
        on_line = given(context, params, struct)
        values = {**in_file, **on_line}
        if params["print_config"]:
            heading = f"Options of `edgessd {context.command.name}`, for --config."
            print(to_toml(struct, located(struct, values, Path.cwd()), heading), end="")
            return
        try:
            run(struct(**values))
        except EdgeSSDError as error:
            error.args = (_located_message(str(error), config, describe(struct), in_file.keys() - on_line.keys()),)
            raise

    parameters = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(_parameter(field) for field in describe(struct)),
        _plain_parameter("config", Annotated[Path | None, CONFIG_FILE], None),
        _plain_parameter("print_config", Annotated[bool, PRINT_CONFIG], False),
    ]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def given(context: typer.Context, params: Mapping[str, Any], struct: type[Struct]) -> dict[str, Any]:
    """What command line and environment give of the struct's options: attribute to checked value.

    params: what the command was called with, in the types of its parameters (old typers keep texts in the context).
    """
    values: dict[str, Any] = {}
    for field in describe(struct):
        # By name: some typers bring a click of their own.
        source = getattr(context.get_parameter_source(field.attribute), "name", None)
        value = params[field.attribute]
        # A variable may be set to nothing; of an argument that is left out old clicks say that the line gave it.
        missing = (field.option.argument or source == "ENVIRONMENT") and value in ("", None, [])
        if source in ("COMMANDLINE", "ENVIRONMENT") and not missing:
            if field.option.commas and isinstance(value, str):
                value = [word.strip() for word in value.split(",") if word.strip()]
            where = field.option.env if source == "ENVIRONMENT" else field.flag
            values[field.attribute] = check(field, value, str(where))
    return values


def _located_message(message: str, config: Path | None, fields: Iterable[Field], in_file: Collection[str]) -> str:
    """The message, with file and key in place of the option that it begins with where the file gave that."""
    for field in fields:
        rest = message.removeprefix(field.flag)
        if field.attribute in in_file and rest[:1] in (" ", ":") and rest != message:
            return f"{printable(config)}: {field.key}{rest}"
    return message


def _plain_parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(field: Field) -> inspect.Parameter:
    option = field.option
    kind: Any = field.kind
    if field.words:
        kind = str
    elif get_origin(kind) is list:
        kind = str if option.commas else list[str]
    default: Any = field.default if isinstance(field.default, bool | int | float | str) else None
    if option.argument:
        argument = typer.Argument(help=option.help, metavar=field.metavar)
        return _plain_parameter(field.attribute, Annotated[kind | None, argument], default)
    flags = [field.flag] + ([f"-{option.short}"] if option.short else [])
    if kind is bool:
        flags = [f"{field.flag}/--no-{field.flag.removeprefix('--')}"]
    declared = typer.Option(
        *flags,
        help=option.help,
        metavar=None if kind is bool else field.metavar,
        envvar=option.env,
        rich_help_panel=option.panel,
        min=field.lowest,
        max=field.highest,
        show_default=default is not False,
    )
    return _plain_parameter(field.attribute, Annotated[kind | None, declared], default)
