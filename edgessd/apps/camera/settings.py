"""What the user has asked for, checked before the work begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgessd.apps.camera.actions import Command, Mqtt, Webhook
from edgessd.apps.camera.counters import Shape, parse_line, parse_zone
from edgessd.apps.camera.drawing import Style
from edgessd.apps.camera.events import Action
from edgessd.apps.camera.frame_log import check_log_target
from edgessd.apps.camera.mqtt import MqttLink
from edgessd.apps.camera.mqtt_address import MqttAddress, is_topic
from edgessd.errors import OptionError, printable
from edgessd.io.video import check_video_target


@dataclass(frozen=True)
class Settings:
    """The options of the command, by their names there (`edgessd.cli.camera`)."""

    source: str
    size: str | None
    every: int
    max_fps: float | None
    loop: bool
    retries: int | None
    max_frames: int | None
    model: str | None
    models: Path | None
    runtime: str | None
    threads: int | None
    spec: Path | None
    score_threshold: float | None
    classes: list[str] | None
    output: Path | None
    window: bool | None
    json_file: str | None
    csv_file: str | None
    snapshots: Path | None
    drawing: str | None
    track: bool
    line: list[str] | None
    zone: list[str] | None
    on_detect: list[str] | None
    cooldown: float
    webhook: str | None
    execute: str | None
    mqtt: str | None
    mqtt_password_file: Path | None
    home_assistant: bool
    discovery_prefix: str
    clips: Path | None
    clip_before: float
    clip_after: float
    web: str | None
    web_token: str | None
    web_cert: Path | None

    def check(self) -> None:
        """Refuse before the work what could only fail after it."""
        output = self.output
        if output is not None:
            check_video_target(output)
            if output.exists() and Path(self.source).exists() and output.samefile(self.source):
                raise OptionError(f"{output} would overwrite its own source: give --output another name")
        if self.json_file is not None:
            check_log_target("--json", self.json_file, (".json", ".jsonl"))
        if self.csv_file is not None:
            check_log_target("--csv", self.csv_file, (".csv",))
        if self.json_file == self.csv_file == "-":
            raise OptionError("--json - and --csv - would mix on the terminal: give one of them a file")
        if self.web is None and self.web_cert is not None:
            raise OptionError("--web-cert belongs to --web")
        if self.mqtt is None:
            self._check_without_mqtt()
        if not is_topic(self.discovery_prefix):
            raise OptionError(f"--discovery-prefix {printable(self.discovery_prefix)}: no topic of MQTT")

    def _check_without_mqtt(self) -> None:
        if self.home_assistant:
            raise OptionError("--home-assistant needs --mqtt: it is told over MQTT")
        if self.mqtt_password_file is not None:
            raise OptionError("--mqtt-password-file belongs to --mqtt")

    def shapes(self) -> list[Shape]:
        """Lines and zones."""
        shapes = [
            *(parse_line(text, number) for number, text in enumerate(self.line or (), 1)),
            *(parse_zone(text, number) for number, text in enumerate(self.zone or (), 1)),
        ]
        if len({shape.name for shape in shapes}) < len(shapes):
            raise OptionError("two lines or zones have the same name: give each its own")
        return shapes

    def capture_size(self) -> tuple[int, int] | None:
        """Width and height."""
        if self.size is None:
            return None
        match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", self.size)
        if match is None:
            raise OptionError(f"--size {self.size}: give width and height, such as 640x480")
        return int(match.group(1)), int(match.group(2))

    def style(self) -> Style | None:
        """Who draws."""
        if self.drawing == "own":
            return "own"
        if self.drawing == "supervision":
            return "supervision"
        if self.drawing is not None:
            raise OptionError(f"--drawing {self.drawing}: use own or supervision")
        return None

    def watched(self) -> list[str]:
        """Classes whose appearance is an event."""
        if self.on_detect is None:
            named = {"--webhook": self.webhook, "--exec": self.execute, "--mqtt": self.mqtt, "--clips": self.clips}
            for option, value in named.items():
                if value is not None:
                    raise OptionError(f"{option} needs --on-detect CLASS: say what is an event")
            return []
        if not self.on_detect:
            raise OptionError("--on-detect needs the name of a class")
        return self.on_detect

    def link(self) -> MqttLink | None:
        """The connection to a broker, not started yet."""
        if self.mqtt is None:
            return None
        return MqttLink(MqttAddress.parse(self.mqtt, source=self.source, password_file=self.mqtt_password_file))

    def actions(self, link: MqttLink | None = None) -> list[Action]:
        """What is done about an event; opens what it needs."""
        actions: list[Action] = []
        if self.webhook is not None:
            actions.append(Webhook(self.webhook))
        if self.execute is not None:
            actions.append(Command(self.execute))
        if link is not None:
            actions.append(Mqtt(link))
        return actions
