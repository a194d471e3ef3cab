"""One run of the camera: everything is put together, runs, and comes to its end."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgessd._signals import stop_on_signals
from edgessd.apps.camera import prepare
from edgessd.apps.camera.benchmark import start_benchmark
from edgessd.apps.camera.capture import Capture
from edgessd.apps.camera.clips import ClipOutput
from edgessd.apps.camera.control import Control
from edgessd.apps.camera.counters import Counters, Shape
from edgessd.apps.camera.drawing import open_drawing
from edgessd.apps.camera.engine import Engine
from edgessd.apps.camera.events import Action, EventOutput, Watch
from edgessd.apps.camera.frame_log import FrameLog, JsonDocument, csv_lines, json_lines
from edgessd.apps.camera.frame_source import FrameSource
from edgessd.apps.camera.home_output import HomeAssistantOutput
from edgessd.apps.camera.loop import run_camera
from edgessd.apps.camera.models import choices, runtimes_of
from edgessd.apps.camera.mqtt import MqttLink
from edgessd.apps.camera.outputs import Output, VideoOutput, WindowOutput, closing_all
from edgessd.apps.camera.pipeline import Follower, Pipeline
from edgessd.apps.camera.reconnect import Reconnecting
from edgessd.apps.camera.recorder import Recorder
from edgessd.apps.camera.settings import Settings
from edgessd.apps.camera.sources import open_source
from edgessd.apps.camera.tracking import Tracker
from edgessd.apps.camera.view import View
from edgessd.apps.camera.window import why_no_window
from edgessd.classes.class_map import class_labels
from edgessd.detector import Detector
from edgessd.errors import InputError, printable
from edgessd.io.video import shortcoming_of
from edgessd.options.secrets import read_secret, source_with_password

if TYPE_CHECKING:
    from edgessd.apps.camera.web.server import WebAddress


def run_session(settings: Settings) -> None:
    """Run the camera until its source or the user ends it, and print the summary.

    What was found until a problem is kept; the problem is raised at the end.
    """
    prepare.check_settings(settings)
    shapes, watched, size = prepare.shapes(settings), prepare.watched(settings), prepare.capture_size(settings)
    known, first = choices(settings.model, settings.models)
    link = prepare.mqtt_link(settings)
    actions = prepare.actions(settings, link)
    address = _web_address(settings)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        source = _open_source(settings, size)
        capture = Capture(source, stop=stop, every=settings.every, max_fps=settings.max_fps)
        stack.callback(capture.close)
        engine = _load(settings, known, first)
        stack.callback(engine.close)
        control = Control(engine, stop, snapshots=settings.snapshots, benchmark=start_benchmark)
        control.numbers = settings.numbers
        engine.say = control.say
        session = Session(settings, engine, control, capture, stop)
        view = View(capture, control, session.recorder, open_drawing(settings.drawing), shapes)
        followers = _followers(settings, shapes, engine, source)
        session.add_events(watched, actions, link)
        session.add_files()
        session.add_screens(address)
        session.run(view, followers)
    to_terminal = "-" in (settings.json_file, settings.csv_file)
    with contextlib.redirect_stdout(sys.stderr if to_terminal else sys.stdout):
        session.tell()


class Session:
    """The outputs of one run, and what is left of it at its end."""

    def __init__(
        self, settings: Settings, engine: Engine, control: Control, capture: Capture, stop: threading.Event
    ) -> None:
        self.settings, self.engine, self.control = settings, engine, control
        self.capture, self.source, self.stop = capture, capture.source, stop
        self.recorder = Recorder()
        self.outputs: list[Output] = []
        self.events: EventOutput | None = None
        self.document: JsonDocument | None = None
        self.problem: Exception | None = None
        self.summary: dict[str, Any] = {}

    @property
    def fps(self) -> float:
        """Frames per second of a video of this run."""
        fps = self.source.fps / self.settings.every
        limit = self.settings.max_fps
        return min(fps, limit) if limit is not None and self.source.live else fps

    def add_events(self, watched: list[str], actions: list[Action], link: MqttLink | None) -> None:
        """Add what happens about events; raises OptionError for a class that the model does not have."""
        if not watched:
            return
        settings, live = self.settings, self.source.live
        known = self.engine.info.classes
        watched = list(dict.fromkeys(known[class_labels(name, known)[0]] for name in watched))
        clips = None
        if settings.clips is not None:
            clips = ClipOutput(
                settings.clips,
                fps=self.fps,
                before=settings.clip_before,
                after=settings.clip_after,
                live=live,
                pixel_aspect=self.source.pixel_aspect,
            )
        watch = Watch(watched, cooldown=settings.cooldown, source=self.source.name)
        triggers = [clips.trigger] if clips is not None else []
        self.events = EventOutput(watch, actions, model=lambda: self.engine.info.title, triggers=triggers)
        self.outputs.append(self.events)  # before the clips: they are told of a frame's event before they get it
        if clips is not None:
            self.outputs.append(clips)
        if link is not None:
            self._add_link(link, watched)

    def _add_link(self, link: MqttLink, watched: list[str]) -> None:
        """Connect to the broker, as a device of Home Assistant if that is wished."""
        settings = self.settings
        if settings.home_assistant:
            home = HomeAssistantOutput(
                link,
                watched,
                self.capture,
                hold=settings.cooldown,
                model=lambda: self.engine.info.title,
                prefix=settings.discovery_prefix,
            )
            self.outputs.append(home)  # behind the events: what is last is closed first, and they close the link
        print(f"mqtt: {link.address.shown}", file=sys.stderr, flush=True)
        link.start()

    def add_files(self) -> None:
        """Add JSON, CSV and video."""
        settings, live = self.settings, self.source.live
        if settings.json_file is not None and settings.json_file.endswith(".json"):
            self.document = JsonDocument(Path(settings.json_file), live=live)
            self.outputs.append(self.document.log)
        elif settings.json_file is not None:
            self.outputs.append(json_lines(settings.json_file, live=live))
        if settings.csv_file is not None:
            self.outputs.append(csv_lines(settings.csv_file, live=live))
        if settings.output is not None:
            if (shortcoming := shortcoming_of(settings.output)) is not None:
                print(shortcoming, file=sys.stderr, flush=True)
            aspect = self.source.pixel_aspect
            self.outputs.append(VideoOutput(settings.output, fps=self.fps, live=live, pixel_aspect=aspect))

    def add_screens(self, address: WebAddress | None) -> None:
        """Add window and web view. By default there is a window where one can be, unless a web view is asked for."""
        wanted = self.settings.window
        if wanted or (wanted is None and address is None):
            reason = why_no_window()
            if reason is None:
                self.outputs.append(WindowOutput(self.control))
            else:
                print(f"no window: {reason}; going on without one", file=sys.stderr)
        if address is not None:
            from edgessd.apps.camera.web.server import WebOutput

            self.outputs.append(WebOutput(address, self.control, self.capture, self.recorder))

    def run(self, view: View, followers: list[Follower]) -> None:
        """Run to the end, and write what is written at the end."""
        self._keep(lambda: self._run(view, followers))
        self.summary = self.recorder.summary(self.capture.dropped)
        if self.events is not None:
            self.summary["events"] = self.events.summary()
        lost = sum(each.dropped for each in self.outputs if isinstance(each, FrameLog))
        if lost:
            self.summary["log_entries_lost"] = lost
        if self.document is not None:
            document, info = self.document, self.engine.info
            error = str(self.problem) if self.problem is not None else None
            head = {"source": self.source.name, "model": info.title, "runtime": info.runtime}
            self._keep(lambda: document.write({**head, "error": error, "summary": self.summary}))

    def _run(self, view: View, followers: list[Follower]) -> None:
        with closing_all(self.outputs):
            pipeline = Pipeline(self.capture, self.engine.detect, followers, stop=self.stop)
            with self.capture, pipeline:
                failures = run_camera(
                    pipeline, view, self.outputs, self.recorder, self.control, max_frames=self.settings.max_frames
                )
        if failures:
            raise failures[0]

    def _keep(self, do: Callable[[], None]) -> None:
        """Do something; of several problems the first is raised at the end."""
        try:
            do()
        except Exception as error:
            self.problem = self.problem or error

    def tell(self) -> None:
        """Print the summary and raise the problem."""
        if self.recorder.frames:
            print_summary(self.summary)
            settings = self.settings
            for path in (settings.output, settings.json_file, settings.csv_file):
                if path is not None and str(path) != "-" and Path(path).exists():
                    print(f"wrote {printable(path)}")
        if self.problem is not None:
            raise self.problem
        if not self.recorder.frames and not self.stop.is_set():
            raise InputError(f"{self.source.name}: no frames came from it: check it in a player, or try --source demo")


def print_summary(summary: dict[str, Any]) -> None:
    """Print the summary of a run that had frames."""
    dropped = f", {summary['dropped']} dropped" if summary["dropped"] else ""
    print(f"frames      {summary['frames']}{dropped}")
    print(f"speed       {summary['fps']:.1f} FPS over {summary['seconds']:.1f} s")
    print("median ms   " + "  ".join(f"{stage} {value:.1f}" for stage, value in summary["median_ms"].items()))
    print(f"frame age   median {summary['age_ms']['median']:.0f} ms, p99 {summary['age_ms']['p99']:.0f} ms")
    objects = "  ".join(f"{name} {count}" for name, count in summary["objects"].items())
    print(f"objects     {objects or 'none'}")
    for name, count in summary.get("counts", {}).items():
        print(f"counted     {printable(name, 60)}: " + ", ".join(f"{key} {value}" for key, value in count.items()))
    if lost := summary.get("log_entries_lost"):
        print(f"log         {lost} entries lost (disk too slow)")
    if events := summary.get("events"):
        parts = [f"{events['events']}"]
        parts += [f"{count} {name} failed" for name, count in events["failed"].items()]
        parts += [f"{count} {name} lost (too slow)" for name, count in events["lost"].items()]
        print(f"events      {', '.join(parts)}")


def _open_source(settings: Settings, size: tuple[int, int] | None) -> FrameSource:
    def open_it() -> FrameSource:
        return open_source(named, size=size, loop=settings.loop)

    named = source_with_password(settings.source, settings.source_password_file)
    opened = open_it()
    if not opened.live or settings.source == "browser":
        return opened
    first = [opened]  # the one that is open already
    return Reconnecting(lambda: first.pop() if first else open_it(), retries=settings.retries)


def _load(settings: Settings, known: dict[str, str], first: str) -> Engine:
    return Engine(
        lambda file, runtime: Detector.load(
            file,
            runtime,
            settings.threads,
            spec=settings.spec,
            score_threshold=settings.score_threshold,
            classes=settings.classes,
        ),
        known,
        first,
        runtime=settings.runtime,
        threads=settings.threads,
        classes=settings.classes,
        runtimes=runtimes_of,
    )


def _followers(settings: Settings, shapes: list[Shape], engine: Engine, source: FrameSource) -> list[Follower]:
    followers: list[Follower] = []
    if settings.track or any(shape.is_line for shape in shapes):
        followers.append(Tracker(engine.info.score_threshold, source.fps / settings.every))
    if shapes:
        followers.append(Counters(shapes))
    return followers


def _web_address(settings: Settings) -> WebAddress | None:
    if settings.web is None:
        return None
    from edgessd.apps.camera.web.server import WebAddress

    token = settings.web_token if settings.web_token_file is None else None
    return WebAddress.parse(settings.web, token or read_secret("web-token", settings.web_token_file), settings.web_cert)
