"""The command: boxes on a camera, a video or a stream."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgessd.apps.camera.actions import Command, Mqtt, Webhook
from edgessd.apps.camera.benchmark import start_benchmark
from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.clips import ClipOutput
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.counters import Counters, Shape, parse_line, parse_zone
from edgessd.apps.camera.drawing import Style, open_drawing
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.events import Action, EventOutput, Watch
from edgessd.apps.camera.frame_log import FrameLog, JsonDocument, check_log_target, csv_lines, json_lines
from edgessd.apps.camera.loop import run_camera
from edgessd.apps.camera.models import choices
from edgessd.apps.camera.outputs import Output, VideoOutput, WindowOutput, closing_all
from edgessd.apps.camera.pipeline import Follower, Pipeline
from edgessd.apps.camera.reconnect import Reconnecting
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.signals import stop_on_signals
from edgessd.apps.camera.sources import FrameSource, open_source
from edgessd.apps.camera.tracking import Tracker
from edgessd.apps.camera.view import View
from edgessd.apps.camera.window import why_no_window
from edgessd.cli import options
from edgessd.errors import InputError, OptionError
from edgessd.io.video import check_video_target
from edgessd.results import class_labels

if TYPE_CHECKING:
    from edgessd.apps.web.server import WebAddress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SOURCE = "Source"
_OUTPUT = "Output"
_TRACK = "Tracking and counting"
_EVENTS = "Events"
_WEB = "Web view"


@app.command()
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
        typer.Option(metavar="CLASS[,CLASS]", help="Make an event when it appears.", rich_help_panel=_EVENTS),
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
        typer.Option(metavar="URL", help="Publish each event: mqtt://host/topic.", rich_help_panel=_EVENTS),
    ] = None,
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
    shapes = [
        *(parse_line(text, number) for number, text in enumerate(line or (), 1)),
        *(parse_zone(text, number) for number, text in enumerate(zone or (), 1)),
    ]
    if len({shape.name for shape in shapes}) < len(shapes):
        raise OptionError("two lines or zones have the same name: give each its own")
    _check_targets(source, output, json_file, csv_file)
    style = _style(drawing)
    actions = _actions(on_detect, webhook, execute, mqtt, clips)
    address = _web_address(web, web_token, web_cert)
    capture_size = _size(size)
    known, first = choices(model, models)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        frames = stack.enter_context(closing(_open_source(source, capture_size, loop, retries)))
        engine = stack.enter_context(
            closing(
                Engine(
                    lambda file, engine: options.load_detector(
                        file, engine, threads, spec, score_threshold, classes=classes
                    ),
                    known,
                    first,
                    runtime=runtime,
                    threads=threads,
                    classes=options.class_list(classes),
                )
            )
        )
        control = Control(engine, stop, snapshots=snapshots, benchmark=start_benchmark)
        engine.say = control.say
        recorder = Recorder()
        capture = Capture(frames, stop=stop, every=every, max_fps=max_fps)
        session = Session(frames, engine, control, recorder, capture, stop)
        followers = _followers(track, shapes, engine, frames, every)
        drawer = open_drawing(style)
        view = View(capture, control, recorder, drawer, shapes)
        fps = min(frames.fps / every, max_fps if max_fps is not None and frames.live else frames.fps)
        outputs = session.outputs
        document = None
        if actions or clips or on_detect:
            names = options.class_list(on_detect) or []
            class_labels(names, engine.info.classes)
            watch = Watch(names, cooldown=cooldown, source=frames.name, live=frames.live)
            recording = (
                ClipOutput(clips, fps=fps, before=clip_before, after=clip_after, live=frames.live) if clips else None
            )
            session.events = EventOutput(
                watch,
                actions,
                model=lambda: engine.info.title,
                triggers=[recording.trigger] if recording is not None else [],
            )
            outputs.append(session.events)
            if recording is not None:
                outputs.append(recording)
        if json_file is not None and json_file.endswith(".json"):
            document = JsonDocument(Path(json_file), live=frames.live)
            outputs.append(document.log)
        elif json_file is not None:
            outputs.append(json_lines(json_file, live=frames.live))
        if csv_file is not None:
            outputs.append(csv_lines(csv_file, live=frames.live))
        if output is not None:
            outputs.append(VideoOutput(output, fps=fps, live=frames.live))
        if window is not False and not (web is not None and window is None):
            reason = why_no_window()
            if reason is None:
                outputs.append(WindowOutput(control))
            else:
                print(f"no window: {reason}; going on without one", file=sys.stderr)
        if address is not None:
            from edgessd.apps.web.server import WebOutput

            outputs.append(WebOutput(address, control, capture, recorder))
        session.run(view, followers, max_frames)
        if document is not None:
            session.keep(lambda: document.write(session.head()))
    with contextlib.redirect_stdout(sys.stderr if "-" in (json_file, csv_file) else sys.stdout):
        session.tell([each for each in (output, json_file, csv_file) if each is not None and str(each) != "-"])


@dataclass
class Session:
    """Everything of one run, and its end."""

    frames: FrameSource
    engine: Engine
    control: Control
    recorder: Recorder
    capture: Capture
    stop: threading.Event
    outputs: list[Output] = field(default_factory=list)
    events: EventOutput | None = None
    problem: Exception | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def run(self, view: View, followers: list[Follower], max_frames: int | None) -> None:
        """Run to the end; what was found until a problem is kept, and the problem with it."""

        def all_of_it() -> None:
            with closing_all(self.outputs):
                pipeline = Pipeline(self.capture, self.engine.detect, followers, stop=self.stop)
                with self.capture, pipeline:
                    failures = run_camera(
                        pipeline, view, self.outputs, self.recorder, self.control, max_frames=max_frames
                    )
            if failures:
                raise failures[0]

        self.keep(all_of_it)
        info = self.engine.info
        self.info = {"model": info.title, "runtime": info.runtime}
        self.summary = self.recorder.summary(self.capture.dropped)
        if self.events is not None:
            self.summary["events"] = self.events.summary()
        lost = sum(each.dropped for each in self.outputs if isinstance(each, FrameLog))
        if lost:
            self.summary["log_entries_lost"] = lost

    def keep(self, do: Any) -> None:
        """Do something; of several problems the first is raised at the end."""
        try:
            do()
        except Exception as error:
            self.problem = self.problem or error

    def head(self) -> dict[str, Any]:
        """What stands at the head of the JSON document."""
        error = str(self.problem) if self.problem is not None else None
        return {"source": self.frames.name, **self.info, "error": error, "summary": self.summary}

    def tell(self, written: list[Any]) -> None:
        """Print the summary and raise the problem."""
        if self.recorder.frames:
            _print_summary(self.summary)
            for path in written:
                if Path(path).exists():
                    print(f"wrote {path}")
        if self.problem is not None:
            raise self.problem
        if not self.recorder.frames and not self.stop.is_set():
            raise InputError(f"{self.frames.name}: no frames came from it: check it in a player, or try --source demo")


def _open_source(source: str, size: tuple[int, int] | None, loop: bool, retries: int | None) -> FrameSource:
    opened = open_source(source, size=size, loop=loop)
    if not opened.live or source == "browser":
        return opened
    first = [opened]  # the one that is open already; later ones are opened again
    return Reconnecting(lambda: first.pop() if first else open_source(source, size=size, loop=loop), retries=retries)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if match is None:
        raise OptionError(f"--size {text}: give width and height, such as 640x480")
    return int(match.group(1)), int(match.group(2))


def _style(drawing: str | None) -> Style | None:
    if drawing == "own":
        return "own"
    if drawing == "supervision":
        return "supervision"
    if drawing is not None:
        raise OptionError(f"--drawing {drawing}: use own or supervision")
    return None


def _check_targets(source: str, output: Path | None, json_file: str | None, csv_file: str | None) -> None:
    """Refuse before the work what could only fail after it."""
    if output is not None:
        check_video_target(output)
        if output.exists() and Path(source).exists() and output.samefile(source):
            raise OptionError(f"{output} would overwrite its own source: give --output another name")
    if json_file is not None:
        check_log_target("--json", json_file, (".json", ".jsonl"))
    if csv_file is not None:
        check_log_target("--csv", csv_file, (".csv",))
    if json_file == csv_file == "-":
        raise OptionError("--json - and --csv - would mix on the terminal: give one of them a file")


def _actions(
    on_detect: str | None, webhook: str | None, execute: str | None, mqtt: str | None, clips: Path | None
) -> list[Action]:
    if on_detect is None:
        named = {"--webhook": webhook, "--exec": execute, "--mqtt": mqtt, "--clips": clips}
        for option, value in named.items():
            if value is not None:
                raise OptionError(f"{option} needs --on-detect CLASS: say what is an event")
        return []
    if not options.class_list(on_detect):
        raise OptionError("--on-detect needs the name of a class")
    actions: list[Action] = []
    if webhook is not None:
        actions.append(Webhook(webhook))
    if execute is not None:
        actions.append(Command(execute))
    if mqtt is not None:
        actions.append(Mqtt(mqtt))
    return actions


def _web_address(web: str | None, token: str | None, certificate: Path | None) -> WebAddress | None:
    if web is None:
        if certificate is not None:
            raise OptionError("--web-cert belongs to --web")
        return None
    from edgessd.apps.web.server import WebAddress

    return WebAddress.parse(web, token, certificate)


def _followers(track: bool, shapes: list[Shape], engine: Engine, frames: FrameSource, every: int) -> list[Follower]:
    followers: list[Follower] = []
    if track or any(shape.is_line for shape in shapes):
        followers.append(Tracker(engine.info.score_threshold, frames.fps / every))
    if shapes:
        followers.append(Counters(shapes))
    return followers


def _print_summary(summary: dict[str, Any]) -> None:
    dropped = f", {summary['dropped']} dropped" if summary["dropped"] else ""
    print(f"frames      {summary['frames']}{dropped}")
    print(f"speed       {summary['fps']:.1f} FPS over {summary['seconds']:.1f} s")
    print("median ms   " + "  ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items()))
    if summary["age_ms"]:
        print(f"frame age   median {summary['age_ms']['median']:.0f} ms, p99 {summary['age_ms']['p99']:.0f} ms")
    objects = "  ".join(f"{name} {count}" for name, count in summary["objects"].items())
    print(f"objects     {objects or 'none'}")
    events = summary.get("events")
    if events is not None:
        lines = [f"{events['events']}"]
        lines += [f"{count} {name} failed" for name, count in events["failed"].items()]
        lines += [f"{count} {name} lost (too slow)" for name, count in events["lost"].items()]
        print(f"events      {', '.join(lines)}")
