"""`edgessd camera`: boxes on a camera, a video or a stream, live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgessd.apps.camera.settings import Settings
from edgessd.cli import options

_SOURCE = "Source"
_OUTPUT = "Output"
_TRACK = "Tracking and counting"
_EVENTS = "Events"
_WEB = "Web view"


def camera(
    source: Annotated[
        str,
        typer.Option(
            help="Camera number, video, picture folder, address (rtsp, http), picamera, GStreamer pipeline, demo, "
            "or browser.",
            rich_help_panel=_SOURCE,
        ),
    ] = "0",
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Size of capture.", rich_help_panel=_SOURCE)] = None,
    every: Annotated[int, typer.Option(min=1, help="Only each N-th frame.", rich_help_panel=_SOURCE)] = 1,
    max_fps: Annotated[
        float | None, typer.Option(min=0.01, help="Frames per second at most.", rich_help_panel=_SOURCE)
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Play a file again and again.", rich_help_panel=_SOURCE)] = False,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0, help="Attempts in a row to get a lost source back; default: no end.", rich_help_panel=_SOURCE
        ),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="End after so many frames.", rich_help_panel=_SOURCE)
    ] = None,
    model: options.Model = None,
    models: Annotated[Path | None, typer.Option(help="Folder of model files to choose from while it runs.")] = None,
    runtime: options.Runtime = None,
    threads: options.Threads = None,
    spec: options.Spec = None,
    score_threshold: options.ScoreThreshold = None,
    classes: options.Classes = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Save the annotated video (.mp4, .mov, .mkv or .avi).", rich_help_panel=_OUTPUT
        ),
    ] = None,
    window: Annotated[
        bool | None,
        typer.Option(
            "--window/--no-window", help="Show a window; default: where there is a display.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            help="Detections of every frame: *.json is written at the end, *.jsonl (or -) line by line.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    csv_file: Annotated[
        str | None,
        typer.Option("--csv", help="One line per object, to *.csv or - (the terminal).", rich_help_panel=_OUTPUT),
    ] = None,
    snapshots: Annotated[
        Path | None, typer.Option(help="Folder for snapshots (key s); default: this one.", rich_help_panel=_OUTPUT)
    ] = None,
    drawing: Annotated[
        str | None,
        typer.Option(help="own or supervision; default: supervision if installed.", rich_help_panel=_OUTPUT),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Give objects ids (ByteTrack).", rich_help_panel=_TRACK)
    ] = False,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=x1,y1,x2,y2", help="Count who crosses; fractions of the picture.", rich_help_panel=_TRACK
        ),
    ] = None,
    zone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=x1,y1,...", help="Count who is inside; three corners or more.", rich_help_panel=_TRACK
        ),
    ] = None,
    on_detect: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS[,CLASS]",
            envvar="EDGESSD_ON_DETECT",
            help="Make an event when it appears.",
            rich_help_panel=_EVENTS,
        ),
    ] = None,
    cooldown: Annotated[
        float,
        typer.Option(min=0, help="Seconds a class must be away before its next event.", rich_help_panel=_EVENTS),
    ] = 10.0,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each event as JSON.", rich_help_panel=_EVENTS)
    ] = None,
    execute: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run for each event, JSON on stdin.", rich_help_panel=_EVENTS),
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="EDGESSD_MQTT",
            help="Publish each event: mqtt://[user@]host[:port][/topic].",
            rich_help_panel=_EVENTS,
        ),
    ] = None,
    mqtt_password_file: Annotated[
        Path | None,
        typer.Option(help="Its password; or set EDGESSD_MQTT_PASSWORD.", rich_help_panel=_EVENTS),
    ] = None,
    home_assistant: Annotated[
        bool,
        typer.Option("--home-assistant", help="Be a device in Home Assistant, over --mqtt.", rich_help_panel=_EVENTS),
    ] = False,
    discovery_prefix: Annotated[
        str, typer.Option(metavar="TOPIC", help="Home Assistant's discovery prefix.", rich_help_panel=_EVENTS)
    ] = "homeassistant",
    clips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record a video around each event.", rich_help_panel=_EVENTS)
    ] = None,
    clip_before: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds of a clip before its event.", rich_help_panel=_EVENTS)
    ] = 3.0,
    clip_after: Annotated[
        float, typer.Option(min=0, max=240, help="Seconds of a clip after its event.", rich_help_panel=_EVENTS)
    ] = 5.0,
    web: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Serve the web view, as 8000 or 0.0.0.0:8000.", rich_help_panel=_WEB),
    ] = None,
    web_token: Annotated[
        str | None,
        typer.Option(envvar="EDGESSD_WEB_TOKEN", help="Its token; default: a new one each time.", rich_help_panel=_WEB),
    ] = None,
    web_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) for https, with its key.", rich_help_panel=_WEB)
    ] = None,
) -> None:
    """Detect objects on a camera, a video or a stream, live. q or Esc in the window, or Ctrl-C, ends it."""
    given = dict(locals())
    lists = {name: options.class_list(given[name]) for name in ("classes", "on_detect")}
    from edgessd.apps.camera.session import run_session  # here, because it takes a while

    run_session(Settings(**{**given, **lists}))
