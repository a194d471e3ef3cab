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
    . ./edgessd.env
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

Jetson: for its GPU, install NVIDIA's onnxruntime-gpu for your JetPack into venv/ in place of onnxruntime,
and take a float file (edgessd export --precision fp16): TensorRT does not run int8 files with zero points.
"""
