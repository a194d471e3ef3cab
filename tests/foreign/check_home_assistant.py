"""Hold discovery messages against Home Assistant's own schemas: check_home_assistant.py MESSAGES.json

MESSAGES.json: topic and content of each message. Needs the packages homeassistant and paho-mqtt, and no edgessd; see
README.md. Exits with 1 and a line for each message that Home Assistant would not take.
"""

import copy
import importlib
import json
import sys
from pathlib import Path

import voluptuous as vol
from homeassistant import const
from homeassistant.components.mqtt import discovery

PREFIX = "homeassistant/"


def problem(topic, content):
    """What is wrong with a message; None where nothing is."""
    match = discovery.TOPIC_MATCHER.match(topic.removeprefix(PREFIX))
    if match is None or match.end() != len(topic) - len(PREFIX):
        return "no topic of discovery"
    component = importlib.import_module(f"homeassistant.components.mqtt.{match['component']}")
    try:
        checked = component.DISCOVERY_SCHEMA(copy.deepcopy(content))
    except vol.Invalid as error:
        return str(error)
    unknown = set(content) - set(checked)  # Home Assistant leaves out what it does not know
    return f"unknown: {', '.join(sorted(unknown))}" if unknown else None


def main():
    messages = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    problems = {topic: found for topic, content in messages.items() if (found := problem(topic, content))}
    for topic, found in problems.items():
        print(f"{topic}: {found}")
    print(f"{len(messages)} messages, {len(problems)} refused by Home Assistant {const.__version__}")
    return bool(problems) or not messages


if __name__ == "__main__":
    sys.exit(main())
