"""`edgessd bundle`: everything a device or a browser needs, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgessd.apps.bundle import write_android, write_bundle, write_c, write_frigate, write_page
from edgessd.errors import OptionError


class Target(StrEnum):
    """Where the folder goes."""

    device = "device"
    web = "web"
    home_assistant = "home-assistant"
    frigate = "frigate"
    c = "c"
    android = "android"


def bundle(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Bundled names or exported files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.")],
    target: Annotated[
        Target, typer.Option("--target", help="A device, a web page, Frigate, or source code.")
    ] = Target.device,
    extras: Annotated[str, typer.Option(help="device: more of edgessd's extras, such as web.")] = "",
    screen: Annotated[bool, typer.Option("--screen", help="device: with OpenCV's windows (opencv-python).")] = False,
    ort: Annotated[
        Path | None, typer.Option("--ort", help="web: tarball or folder of onnxruntime-web; default: fetch it.")
    ] = None,
    mediapipe: Annotated[
        Path | None, typer.Option("--mediapipe", help="web: the same of @mediapipe/tasks-vision.")
    ] = None,
) -> None:
    """Write a folder for a device (a Raspberry Pi, a Jetson, a server), a browser or Frigate, or source code.

    c and android: decode and suppression of a raw model, as C99 and as Java.
    """
    console = Console(markup=False)
    device = target in (Target.device, Target.home_assistant)
    if not device and (extras or screen):
        raise OptionError("--extras and --screen are for --target device")
    if target is not Target.web and (ort or mediapipe):
        raise OptionError("--ort and --mediapipe are for --target web")
    if target is Target.web:
        files = write_page(models, output, ort=ort, mediapipe=mediapipe)
        following = f"python -m http.server -d {output}, then open http://localhost:8000"
    elif target is Target.frigate:
        files = write_frigate(models, output)
        following = f"read {output / 'README.md'}"
    elif target is Target.c:
        files = write_c(models, output)
        following = f"cc -std=c99 -O2 -o main {output}/main.c {output}/edgessd.c -lm; see {output}/README.md"
    elif target is Target.android:
        files = write_android(models, output)
        following = f"copy assets and java into app/src/main; see {output}/README.md"
    else:
        wanted = [extra.strip() for extra in extras.split(",") if extra.strip()]
        home = target is Target.home_assistant
        files = write_bundle(models, output, extras=wanted, screen=screen, home_assistant=home)
        following = f"fill in {output / 'edgessd.env'}; " * home
        following += f"copy it to the device (scp -r {output} user@device:) and run its install.sh there"
    _say(console, files, output)
    console.print(f"wrote {output}; next: {following}", highlight=False, soft_wrap=True)


def _say(console: Console, files: Sequence[Path], folder: Path) -> None:
    for path in files:
        size = path.stat().st_size / 1e6
        console.print(f"  {path.relative_to(folder)}  {size:.2f} MB", highlight=False, soft_wrap=True)
