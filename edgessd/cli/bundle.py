"""`edgessd bundle`: everything a device needs, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgessd.apps.bundle import write_bundle


def bundle(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Bundled names or exported files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.")],
    extras: Annotated[str, typer.Option(help="More of edgessd's extras, such as web.")] = "",
    screen: Annotated[bool, typer.Option("--screen", help="With OpenCV's windows (opencv-python).")] = False,
) -> None:
    """Write a folder for a Raspberry Pi, a Jetson or a server: wheel, models, scripts, systemd unit."""
    console = Console(markup=False)
    wanted = [extra.strip() for extra in extras.split(",") if extra.strip()]
    files = write_bundle(models, output, extras=wanted, screen=screen)
    for path in files:
        console.print(
            f"  {path.relative_to(output)}  {path.stat().st_size / 1e6:.2f} MB", highlight=False, soft_wrap=True
        )
    console.print(
        f"wrote {output}; next: copy it to the device (scp -r {output} user@device:) and run its install.sh there",
        highlight=False,
        soft_wrap=True,
    )
