"""The list of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from edgessd import __version__
from edgessd.cli.benchmark import benchmark
from edgessd.cli.bulk import bulk
from edgessd.cli.bundle import bundle
from edgessd.cli.camera import camera
from edgessd.cli.detect import detect
from edgessd.cli.doctor import doctor
from edgessd.cli.evaluate import evaluate
from edgessd.cli.export import export
from edgessd.cli.info import info, models
from edgessd.cli.qat import qat
from edgessd.cli.quantize import quantize
from edgessd.cli.slips import Commands
from edgessd.cli.struct_command import PanelCommand
from edgessd.cli.train import train

app = typer.Typer(
    name="edgessd",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="SSD object detectors on edge and mobile devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(detect)
app.command("camera", cls=PanelCommand)(camera)
app.command()(info)
app.command()(models)
app.command()(doctor)
app.command()(train)
app.command()(evaluate)
app.command()(quantize)
app.command()(qat)
app.command()(export)
app.command("benchmark", cls=PanelCommand)(benchmark)
app.command()(bundle)
app.command()(bulk)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgessd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """SSD object detectors on edge and mobile devices."""
