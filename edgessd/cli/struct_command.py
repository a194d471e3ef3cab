"""A command whose options are the fields of a struct: parameters, `--config FILE`, `--print-config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import typer
import typer.core
from msgspec import Struct

from edgessd.errors import OptionError
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

    def command(context: typer.Context, **_: Any) -> None:
        if context.args:
            word = shown_source(context.args[0])
            use = f": use edgessd {context.command.name} {bare} {word}" if bare else ""
            raise OptionError(f"{word} stands without an option{use}")
        config: Path | None = context.params["config"]
        values = {} if config is None else read_toml(config, struct)
        values |= given(context, struct)
        if context.params["print_config"]:
            heading = f"Options of `edgessd {context.command.name}`, for --config."
            print(to_toml(struct, located(struct, values, Path.cwd()), heading), end="")
        else:
            run(struct(**values))

    parameters = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(_parameter(field) for field in describe(struct)),
        _plain("config", Annotated[Path | None, CONFIG_FILE], None),
        _plain("print_config", Annotated[bool, PRINT_CONFIG], False),
    ]
    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def given(context: typer.Context, struct: type[Struct]) -> dict[str, Any]:
    """What command line and environment give of the struct's options: attribute to checked value."""
    values: dict[str, Any] = {}
    for field in describe(struct):
        # By name: some typers bring a click of their own.
        source = getattr(context.get_parameter_source(field.attribute), "name", None)
        value = context.params.get(field.attribute)
        if source == "COMMANDLINE" or (source == "ENVIRONMENT" and value not in ("", None)):
            if field.option.commas and isinstance(value, str):
                value = [word.strip() for word in value.split(",") if word.strip()]
            where = field.option.env if source == "ENVIRONMENT" else field.flag
            values[field.attribute] = check(field, value, str(where))
    return values


def _plain(name: str, annotation: Any, default: Any) -> inspect.Parameter:
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
        return _plain(field.attribute, Annotated[kind | None, argument], default)
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
    return _plain(field.attribute, Annotated[kind | None, declared], default)
