"""What the user can ask for: the options of the command, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from edgessd.options import Option, shared

Count = Annotated[int, Meta(ge=1)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
Natural = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0.01)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]

_SOURCE = "Source"
_MODEL = "Model"
_OUTPUT = "Output"
_TRACK = "Tracking and counting"
_EVENTS = "Events"
_MQTT = "MQTT and Home Assistant"
_WEB = "Web view"


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `edgessd camera`, by their names there and in a file for `--config`.

    Each field is one option: its type and limits, and in `Option` its help, its environment variable and whether it
    is a secret. `edgessd.cli.struct_command` makes the command of it; nothing else lists the options.
    """

    source: Annotated[
        str,
        Option(
            "Camera number, video, picture folder, address (rtsp, http), picamera, GStreamer pipeline, demo, or "
            "browser.",
            panel=_SOURCE,
            env="EDGESSD_SOURCE",
            metavar="SOURCE",
            file="there",
            address=True,
        ),
    ] = "0"
    source_password_file: Annotated[
        Path | None, Option("Password of the user in its address; or set EDGESSD_SOURCE_PASSWORD.", panel=_SOURCE)
    ] = None
    size: Annotated[str | None, Option("Size of capture.", panel=_SOURCE, metavar="WxH")] = None
    every: Annotated[Count, Option("Only each N-th frame.", panel=_SOURCE)] = 1
    max_fps: Annotated[Rate | None, Option("Frames per second at most.", panel=_SOURCE)] = None
    loop: Annotated[bool, Option("Play a file again and again.", panel=_SOURCE)] = False
    retries: Annotated[
        Natural | None, Option("Attempts in a row to get a lost source back; default: no end.", panel=_SOURCE)
    ] = None
    max_frames: Annotated[Count | None, Option("End after so many frames.", panel=_SOURCE)] = None

    model: Annotated[str | None, shared.MODEL.below(_MODEL)] = None
    models: Annotated[
        Path | None, Option("Folder of model files to choose from while it runs.", panel=_MODEL, metavar="DIR")
    ] = None
    runtime: Annotated[str | None, shared.RUNTIME.below(_MODEL)] = None
    threads: Annotated[Threads | None, shared.THREADS.below(_MODEL)] = None
    spec: Annotated[Path | None, shared.SPEC.below(_MODEL)] = None
    score_threshold: Annotated[Fraction | None, shared.SCORE_THRESHOLD.below(_MODEL)] = None
    classes: Annotated[list[str] | None, shared.CLASSES.below(_MODEL)] = None

    output: Annotated[
        Path | None, Option("Save the annotated video (.mp4, .mov, .mkv, .webm or .avi).", short="o", panel=_OUTPUT)
    ] = None
    window: Annotated[bool | None, Option("Show a window; default: where there is a display.", panel=_OUTPUT)] = None
    numbers: Annotated[
        bool, Option("Write speed, times and model on every picture; without it, boxes only.", panel=_OUTPUT)
    ] = True
    json_file: Annotated[
        str | None,
        Option(
            "Detections of every frame: *.json is written at the end, *.jsonl (or -) line by line.",
            panel=_OUTPUT,
            metavar="FILE",
            file="always",
        ),
    ] = field(default=None, name="json")
    csv_file: Annotated[
        str | None,
        Option("One line per object, to *.csv or - (the terminal).", panel=_OUTPUT, metavar="FILE", file="always"),
    ] = field(default=None, name="csv")
    snapshots: Annotated[
        Path | None, Option("Folder for snapshots (key s); default: this one.", panel=_OUTPUT, metavar="DIR")
    ] = None
    drawing: Annotated[
        Literal["own", "supervision"] | None,
        Option("Who draws the boxes; default: supervision if installed.", panel=_OUTPUT),
    ] = None

    track: Annotated[bool, Option("Give objects ids (ByteTrack).", panel=_TRACK)] = False
    line: Annotated[
        list[str],
        Option("Count who crosses; fractions of the picture.", panel=_TRACK, metavar="NAME=x1,y1,x2,y2"),
    ] = []
    zone: Annotated[
        list[str],
        Option("Count who is inside; three corners or more.", panel=_TRACK, metavar="NAME=x1,y1,..."),
    ] = []

    on_detect: Annotated[
        list[str] | None,
        Option(
            "Make an event when it appears.",
            panel=_EVENTS,
            metavar="CLASS[,CLASS]",
            env="EDGESSD_ON_DETECT",
            commas=True,
        ),
    ] = None
    cooldown: Annotated[Seconds, Option("Seconds a class must be away before its next event.", panel=_EVENTS)] = 10.0
    webhook: Annotated[
        str | None,
        Option("POST each event as JSON.", panel=_EVENTS, metavar="URL", env="EDGESSD_WEBHOOK", secret=True),
    ] = None
    webhook_password_file: Annotated[
        Path | None, Option("Password of the user in its address; or set EDGESSD_WEBHOOK_PASSWORD.", panel=_EVENTS)
    ] = None
    webhook_token_file: Annotated[
        Path | None, Option("Token that it asks for (Bearer); or set EDGESSD_WEBHOOK_TOKEN.", panel=_EVENTS)
    ] = None
    execute: Annotated[
        str | None, Option("Run for each event, JSON on stdin.", panel=_EVENTS, metavar="CMD", address=True)
    ] = field(default=None, name="exec")
    clips: Annotated[Path | None, Option("Record a video around each event.", panel=_EVENTS, metavar="DIR")] = None
    clip_before: Annotated[float, Meta(ge=0, le=60), Option("Seconds of a clip before its event.", panel=_EVENTS)] = 3.0
    clip_after: Annotated[float, Meta(ge=0, le=240), Option("Seconds of a clip after its event.", panel=_EVENTS)] = 5.0

    mqtt: Annotated[
        str | None,
        Option(
            "Publish each event: mqtt://[user@]host[:port][/topic].",
            panel=_MQTT,
            metavar="URL",
            env="EDGESSD_MQTT",
            address=True,
        ),
    ] = None
    mqtt_password_file: Annotated[Path | None, Option("Its password; or set EDGESSD_MQTT_PASSWORD.", panel=_MQTT)] = (
        None
    )
    home_assistant: Annotated[bool, Option("Be a device in Home Assistant, over --mqtt.", panel=_MQTT)] = False
    discovery_prefix: Annotated[str, Option("Home Assistant's discovery prefix.", panel=_MQTT, metavar="TOPIC")] = (
        "homeassistant"
    )

    web: Annotated[
        str | None, Option("Serve the web view, as 8000 or 0.0.0.0:8000.", panel=_WEB, metavar="[HOST:]PORT")
    ] = None
    web_token: Annotated[
        str | None, Option("Its token; default: a new one each time.", panel=_WEB, env="EDGESSD_WEB_TOKEN", secret=True)
    ] = None
    web_token_file: Annotated[Path | None, Option("File with the token.", panel=_WEB)] = None
    web_cert: Annotated[Path | None, Option("Certificate (PEM) for https, with its key.", panel=_WEB)] = None

    def __repr__(self) -> str:
        """Nothing of the values: logins are among them."""
        return "Settings(...)"
