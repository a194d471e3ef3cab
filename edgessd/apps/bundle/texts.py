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
# Where there is a camera.toml, it says what they would; ./start.sh --print-config > camera.toml makes one of them.
set -eu
cd "$(dirname "$0")"
if [ -z "${{EDGESSD_SOURCE:-}}" ] && [ -f edgessd.env ]; then
    set -a
    . ./edgessd.env
    set +a
fi
[ -x venv/bin/python ] || ./install.sh
if [ -s camera.toml ]; then
    unset EDGESSD_SOURCE # of edgessd.env: variables go before the file
    exec venv/bin/python -m edgessd.apps.camera --config camera.toml "$@"
fi
# shellcheck disable=SC2086  # several arguments on purpose
exec venv/bin/python -m edgessd.apps.camera --model models/{model} ${{EDGESSD_ARGUMENTS:-}} "$@"
"""

ENVIRONMENT = """\
# Number of a camera, or the address of a stream in quotes, such as "rtsp://me@192.168.1.20/live", and its password.
# A camera.toml in this folder stands for source and arguments.
EDGESSD_SOURCE="0"
EDGESSD_SOURCE_PASSWORD=""
# More arguments of `edgessd camera`, see its --help.
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

Jetson: for its GPU, install NVIDIA's onnxruntime-gpu for your JetPack into venv/ in place of onnxruntime,
and take a float file (edgessd export --precision fp16): TensorRT does not run int8 files with zero points.
"""

C_TABLES = """\
/* {name}: written by edgessd {version} from the model's own spec. */
#ifndef EDGESSD_MODEL_H
#define EDGESSD_MODEL_H

#define EDGESSD_PRIORS {priors}
#define EDGESSD_CLASSES {classes}
#define EDGESSD_COLUMNS {columns} /* logits of a prior; with softmax the first is the background's */
#define EDGESSD_MAX_DETECTIONS {max_detections}

/* Initialisers of an edgessd_tensor: type, scale and zero point of the file's outputs; data is still to be set. */
#define EDGESSD_LOGITS {logits}
#define EDGESSD_OFFSETS {offsets}

#endif

#ifdef EDGESSD_TABLES /* edgessd.c alone includes this file a second time, behind the types of edgessd.h */
#define EDGESSD_SOFTMAX {softmax}
#define EDGESSD_CLIP {clip}
#define EDGESSD_EXCLUDE_BOUNDARY {exclude_boundary}
#define EDGESSD_LETTERBOX {letterbox}
#define EDGESSD_INPUT_WIDTH {width}
#define EDGESSD_INPUT_HEIGHT {height}
#define EDGESSD_CENTER_VARIANCE {center_variance}
#define EDGESSD_SIZE_VARIANCE {size_variance}

const edgessd_thresholds edgessd_defaults = {{{thresholds}}};

const char *const edgessd_class_names[EDGESSD_CLASSES] = {{
{names}
}};

/* The priors of a feature map: `boxes` at every cell, whose sizes begin at number `first_size` of edgessd_sizes. */
typedef struct {{
    int32_t priors, columns, boxes, first_size;
    double step_x, step_y; /* in units of the input */
}} edgessd_level;

static const edgessd_level edgessd_levels[] = {{
{levels}
}};

/* Width and height in units of the input. */
static const double edgessd_sizes[][2] = {{
{sizes}
}};
#endif
"""

C_README = """\
# Decode and suppression of {model} in C99

Written by edgessd {version}. `edgessd.c` and its two headers go into your program; `main.c` is an example:

    cc -std=c99 -O2 -o main main.c edgessd.c -lm
    ./main LOGITS OFFSETS WIDTH HEIGHT          # two files of raw outputs, the size of the picture in pixels

One call turns the outputs of the network into detections, see edgessd.h. It allocates nothing: the workspace is yours,
and static as a rule.

    static edgessd_workspace workspace;
    static edgessd_detection found[EDGESSD_MAX_DETECTIONS];
    edgessd_tensor logits = EDGESSD_LOGITS, offsets = EDGESSD_OFFSETS;

    logits.data = ...;                          /* output {logits_place} of the file */
    offsets.data = ...;                         /* output {offsets_place} */
    count = edgessd_detect(&logits, &offsets, width, height, NULL, &workspace, found, EDGESSD_MAX_DETECTIONS);

| tensor | shape | values |
|---|---|---|
| input | {shape} | {dtype}, {channels}; {pixels}, p being a byte of the picture |
| logits | [{priors}, {columns}] | {logits_kind} |
| offsets | [{priors}, 4] | {offsets_kind} |

The picture is resized to the input {resize}. The model's licence: {license}; edgessd's: Apache-2.0.
"""

JAVA_TABLES = """\
package edgessd;

/** {name}: written by edgessd {version} from the model's own spec. */
public final class SsdModel {{
    public static final int PRIORS = {priors};
    /** Logits of a prior; with softmax the first is the background's. */
    public static final int COLUMNS = {columns};

    static final boolean SOFTMAX = {softmax};
    static final boolean CLIP = {clip};
    static final boolean EXCLUDE_BOUNDARY = {exclude_boundary};
    static final boolean LETTERBOX = {letterbox};
    public static final int INPUT_WIDTH = {width};
    public static final int INPUT_HEIGHT = {height};
    static final double CENTER_VARIANCE = {center_variance};
    static final double SIZE_VARIANCE = {size_variance};

    public static final double SCORE_THRESHOLD = {score_threshold};
    public static final double IOU_THRESHOLD = {iou_threshold};
    public static final int MAX_DETECTIONS = {max_detections};
    public static final int MAX_CANDIDATES = {max_candidates};

    static final String LOGITS_TYPE = "{logits_type}";
    static final float LOGITS_SCALE = {logits_scale};
    static final int LOGITS_ZERO_POINT = {logits_zero_point};
    static final String OFFSETS_TYPE = "{offsets_type}";
    static final float OFFSETS_SCALE = {offsets_scale};
    static final int OFFSETS_ZERO_POINT = {offsets_zero_point};

    public static final String[] CLASSES = String.join("",
{names}
    ).split("\\n");

    /** The priors of a feature map; sizes: width and height of each of a cell, steps: in units of the input. */
    static final class Level {{
        final int rows;
        final int columns;
        final double stepX;
        final double stepY;
        final double[] sizes;

        Level(int rows, int columns, double stepX, double stepY, double[] sizes) {{
            this.rows = rows;
            this.columns = columns;
            this.stepX = stepX;
            this.stepY = stepY;
            this.sizes = sizes;
        }}
    }}

    private SsdModel() {{}}

    static Level[] levels() {{
        return new Level[] {{{calls}}};
    }}

{levels}}}
"""

ANDROID_README = """\
# {model} in an Android app, with decode and suppression in Java

Written by edgessd {version}. LiteRT's `CompiledModel` takes no custom operators on a GPU, so the model ends at its raw
outputs, and `edgessd.SsdDecoder` does the rest. Copy `assets/` and `java/` into `app/src/main/`. From Kotlin:

    val model = CompiledModel.create(context.assets, "model.tflite", CompiledModel.Options(Accelerator.GPU))
    val inputs = model.createInputBuffers()
    val outputs = model.createOutputBuffers()
    val decoder = SsdDecoder()

    inputs[0].{write}(pixels)
    model.run(inputs, outputs)
    val found = decoder.detect({read_logits}, {read_offsets}, bitmap.width, bitmap.height)
    for (each in found) Log.i("detect", "${{each.name}} ${{each.score}} at ${{each.x1}}, ${{each.y1}}")

| tensor | shape | values |
|---|---|---|
| input | {shape} | {dtype}, {channels}; {pixels}, p being a byte of the picture |
| output {logits_place}, logits | [1, {priors}, {columns}] | {logits_kind} |
| output {offsets_place}, offsets | [1, {priors}, 4] | {offsets_kind} |

The picture is resized to the input {resize}. `Main.java` is for a computer, leave it out of the app:

    javac -d classes java/edgessd/*.java
    java -cp classes edgessd.Main LOGITS OFFSETS WIDTH HEIGHT    # two files of raw outputs, the picture in pixels

The model's licence: {license}; edgessd's: Apache-2.0.
"""
