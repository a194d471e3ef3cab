"""What the settings mean together, checked before the work begins."""

from __future__ import annotations

import re
from pathlib import Path

from edgessd.apps.camera.actions import Command, Mqtt, Webhook
from edgessd.apps.camera.counters import Shape, parse_line, parse_zone
from edgessd.apps.camera.events import Action
from edgessd.apps.camera.frame_log import check_log_target
from edgessd.apps.camera.mqtt import MqttLink
from edgessd.apps.camera.mqtt_address import MqttAddress, is_topic
from edgessd.apps.camera.settings import Settings
from edgessd.errors import OptionError, printable
from edgessd.io.address import url_scheme
from edgessd.io.local import is_pattern, matching_files
from edgessd.io.targets import keep_sources
from edgessd.io.video import check_video_target


def check_settings(settings: Settings) -> None:
    """Refuse before the work what could only fail after it."""
    output = settings.output
    if output is not None:
        check_video_target(output, settings.clips)
    if settings.json_file is not None:
        check_log_target("--json", settings.json_file, (".json", ".jsonl"), settings.clips)
    if settings.csv_file is not None:
        check_log_target("--csv", settings.csv_file, (".csv",), settings.clips)
    source = settings.source
    pictures = matching_files(source) if is_pattern(source) else [source]
    keep_sources(
        [settings.output, *(Path(each) for each in (settings.json_file, settings.csv_file) if each is not None)],
        [*pictures, settings.model, settings.spec],
    )
    if settings.json_file == settings.csv_file == "-":
        raise OptionError("--json - and --csv - would mix on the terminal: give one of them a file")
    _check_company(settings)
    if settings.mqtt is None and settings.home_assistant:
        raise OptionError("--home-assistant needs --mqtt: it is told over MQTT")
    if not is_topic(settings.discovery_prefix):
        raise OptionError(f"--discovery-prefix {printable(settings.discovery_prefix)}: no topic of MQTT")


def _check_company(settings: Settings) -> None:
    """Refuse what stands alone and would do nothing."""
    for owner, options in {
        "--web": {"--web-cert": settings.web_cert, "--web-token-file": settings.web_token_file},
        "--mqtt": {"--mqtt-password-file": settings.mqtt_password_file},
        "--webhook": {
            "--webhook-password-file": settings.webhook_password_file,
            "--webhook-token-file": settings.webhook_token_file,
        },
    }.items():
        for option, value in options.items():
            if value is not None and getattr(settings, owner.removeprefix("--")) is None:
                raise OptionError(f"{option} belongs to {owner}")
    if settings.source_password_file is not None and url_scheme(settings.source) in (None, "file"):
        raise OptionError("--source-password-file belongs to a --source that is an address")


def shapes(settings: Settings) -> list[Shape]:
    """Return lines and zones."""
    found = [
        *(parse_line(text, number) for number, text in enumerate(settings.line, 1)),
        *(parse_zone(text, number) for number, text in enumerate(settings.zone, 1)),
    ]
    if len({shape.name for shape in found}) < len(found):
        raise OptionError("two lines or zones have the same name: give each its own")
    return found


def capture_size(settings: Settings) -> tuple[int, int] | None:
    """Return width and height."""
    if settings.size is None:
        return None
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", settings.size)
    if match is None:
        raise OptionError(f"--size {printable(settings.size)}: give width and height, such as 640x480")
    return int(match.group(1)), int(match.group(2))


def watched(settings: Settings) -> list[str]:
    """Return the classes whose appearance is an event."""
    if settings.on_detect is None:
        named = {
            "--webhook": settings.webhook,
            "--exec": settings.execute,
            "--mqtt": settings.mqtt,
            "--clips": settings.clips,
        }
        for option, value in named.items():
            if value is not None:
                raise OptionError(f"{option} needs --on-detect CLASS: say what is an event")
        return []
    if not settings.on_detect:
        raise OptionError("--on-detect needs the name of a class")
    return settings.on_detect


def mqtt_link(settings: Settings) -> MqttLink | None:
    """Return the connection to a broker, not started yet."""
    if settings.mqtt is None:
        return None
    address = MqttAddress.parse(settings.mqtt, source=settings.source, password_file=settings.mqtt_password_file)
    return MqttLink(address)


def actions(settings: Settings, link: MqttLink | None = None) -> list[Action]:
    """Return what is done about an event; opens what it needs."""
    found: list[Action] = []
    if settings.webhook is not None:
        password, token = settings.webhook_password_file, settings.webhook_token_file
        found.append(Webhook(settings.webhook, password=password, token=token))
    if settings.execute is not None:
        found.append(Command(settings.execute))
    if link is not None:
        found.append(Mqtt(link))
    return found
