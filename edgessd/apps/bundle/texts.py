"""The scripts and texts of a bundle."""

INSTALL = """\
#!/bin/sh
# Make the environment beside this script and install everything into it. Run again after a change.
#   ./install.sh                  packages from pip's index
#   ./install.sh --offline DIR    packages from a folder of wheels
# PYTHON: the interpreter (default: python3). VENV: where the environment is (default: venv, beside this script).
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
venv=${VENV:-venv}
fail() { echo "error: $*" >&2; exit 2; }
command -v "$python" >/dev/null || fail "there is no $python: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "edgessd needs Python 3.11, $python is $("$python" -V 2>&1): set PYTHON to a newer one"
index=
if [ "${1:-}" = --offline ]; then
    [ -d "${2:-}" ] || fail "--offline needs a folder of wheels"
    wheels=$(cd "$2" && pwd)
    index="--no-index --find-links=file://$wheels"
fi
if [ ! -x "$venv/bin/pip" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "no environment could be made: apt-get install python3-venv"
fi
# shellcheck disable=SC2086  # two words on purpose
"$venv/bin/pip" install --quiet --disable-pip-version-check $index -r requirements.txt
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall edgessd-*.whl
"$venv/bin/python" -c 'import cv2' || fail "OpenCV cannot start, see above"
echo "installed: $("$venv/bin/edgessd" --version)"
"""

START = """\
#!/bin/sh
# Detect on a camera. EDGESSD_SOURCE and EDGESSD_ARGUMENTS come from edgessd.env, or from the environment.
set -eu
cd "$(dirname "$0")"
if [ -z "${{EDGESSD_SOURCE:-}}" ] && [ -f edgessd.env ]; then
    set -a
    . ./edgessd.env
    set +a
fi
[ -x venv/bin/python ] || ./install.sh
# shellcheck disable=SC2086  # several arguments on purpose
exec venv/bin/python -m edgessd.apps.camera --source "${{EDGESSD_SOURCE:-0}}" --model models/{model} \\
    ${{EDGESSD_ARGUMENTS:-}} "$@"
"""

ENVIRONMENT = """\
# Number of a camera, or the address of a stream in quotes.
EDGESSD_SOURCE="0"
# More arguments of `python -m edgessd.apps.camera`, see its --help.
EDGESSD_ARGUMENTS="{arguments}"
"""

HOME_ENVIRONMENT = """\
# What becomes a binary sensor in Home Assistant, by commas.
EDGESSD_ON_DETECT="{watched}"
# The broker, mostly Home Assistant's own. A topic behind it (mqtt://edgessd@host/home/door) names the camera; without
# one it is called by this machine and its source.
EDGESSD_MQTT="mqtt://edgessd@homeassistant.local"
EDGESSD_MQTT_PASSWORD=""
"""

HOME_README = """\

## Home Assistant

1. In Home Assistant: the add-on *Mosquitto broker*, the integration *MQTT*, and a user `edgessd` with a password
   (Settings, People, Users; it may be limited to the local network).
2. Here: the broker's address, that password and what is watched into `edgessd.env`; then `./start.sh` or the service.
3. In Home Assistant: Settings, Devices & services, MQTT, Devices: the camera is there, with a binary sensor for each
   watched class, a count and the last picture. *Add to dashboard* on its page makes a card; `home-assistant.yaml` has
   a card and an automation to copy, with CAMERA for the name that the page shows.

The same folder may go to several devices: each has a topic of its own. Only where cards are copies of one that was
started before, give each a topic by hand.
"""

HOME_CARDS = """\
# CAMERA is the camera's name as in the entities that its page shows.

# A card: on a dashboard, Edit, Add card, Manual.
type: vertical-stack
cards:
  - type: picture-entity
    entity: image.CAMERA_last_picture
    show_state: false
  - type: glance
    entities:
      - entity: binary_sensor.CAMERA_{watched}
      - entity: sensor.CAMERA_count

# An automation: Settings, Automations, Create, Edit in YAML.
#
# alias: Somebody is there
# triggers:
#   - trigger: state
#     entity_id: binary_sensor.CAMERA_{watched}
#     to: "on"
# actions:
#   - action: notify.persistent_notification
#     data:
#       message: "{{{{ trigger.to_state.name }}}}"
"""

SERVICE = """\
# systemd unit: copy this folder to {folder}, run its install.sh, then
#   cp {folder}/edgessd.service /etc/systemd/system/ && systemctl enable --now edgessd
[Unit]
Description=Object detection (edgessd)
After=network-online.target
Wants=network-online.target

[Service]
WorkingDirectory={folder}
EnvironmentFile={folder}/edgessd.env
ExecStart={folder}/start.sh
Restart=on-failure
RestartSec=5
DynamicUser=yes
StateDirectory=edgessd
SupplementaryGroups=video
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

README = """\
# edgessd {version} for a device

    ./install.sh                                    # environment in venv/; Python 3.11 or newer
    venv/bin/edgessd detect PHOTO --model models/{model}
    ./start.sh                                      # camera; settings in edgessd.env
    venv/bin/edgessd benchmark models/{model}       # how fast it is here

Models: {models}. As a service: see edgessd.service.

Without network on the device, fetch the packages on another machine and take the folder along:

    pip download -r requirements.txt -d wheels --only-binary=:all: --python-version 3.11 \\
        --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64
    ./install.sh --offline wheels                   # on the device

Jetson: for its GPU, install NVIDIA's onnxruntime-gpu for your JetPack into venv/ in place of onnxruntime.
"""
