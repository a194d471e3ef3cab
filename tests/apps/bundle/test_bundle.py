import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from edgessd import __version__, zoo
from edgessd.apps.bundle import bundle as module
from edgessd.apps.bundle import write_bundle
from edgessd.apps.bundle.requirements import requirements
from edgessd.apps.bundle.wheel import build_wheel
from edgessd.errors import InputError, ModelError, OptionError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "device"
    write_bundle([zoo.DEFAULT_MODEL], folder)
    return folder


@pytest.fixture
def tiny(request):
    return request.path.parents[2] / "data" / "tiny.tflite"


def test_everything_is_there(bundle):
    names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
    assert names == [
        "README.md",
        f"edgessd-{__version__}-py3-none-any.whl",
        "edgessd.env",
        "edgessd.service",
        "install.sh",
        f"models/{zoo.DEFAULT_MODEL}.onnx",
        "requirements.txt",
        "start.sh",
    ]
    assert os.access(bundle / "install.sh", os.X_OK)
    assert f"models/{zoo.DEFAULT_MODEL}.onnx" in (bundle / "start.sh").read_text()
    assert "{" not in (bundle / "edgessd.service").read_text()
    for script in ("install.sh", "start.sh", "edgessd.env"):
        subprocess.run(["sh", "-n", bundle / script], check=True)


def test_the_wheel_is_one_for_pip_and_has_what_detects(bundle, tmp_path):
    wheel = bundle / f"edgessd-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        metadata = file.read(f"edgessd-{__version__}.dist-info/METADATA").decode()
    assert f"edgessd/zoo/models/{zoo.DEFAULT_MODEL}.onnx" in names
    assert "edgessd/detector.py" in names
    assert not [name for name in names if "__pycache__" in name]
    assert f"\nVersion: {__version__}\n" in metadata
    target = tmp_path / "installed"
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", target, wheel]
    subprocess.run(list(map(str, line)), check=True, capture_output=True)  # pip checks RECORD's hashes
    code = "import edgessd, sys; print(edgessd.__file__); print(edgessd.detect(sys.argv[1]).names[0])"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    photo = str(zoo.photos()[0].parent / "chelsea.png")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, photo], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(target / "edgessd" / "__init__.py"), "cat"]
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_requirements_follow_the_models(tmp_path, tiny):
    write_bundle([tiny], tmp_path / "a")
    lines = (tmp_path / "a" / "requirements.txt").read_text().splitlines()
    names = [line.split(">=")[0] for line in lines]
    assert {"numpy", "opencv-python-headless", "ai-edge-litert", "typer"} <= set(names)
    assert not {"torch", "openvino", "opencv-python"} & set(names)
    screen = [line.split(">=")[0] for line in requirements(screen=True)]
    assert "opencv-python" in screen
    assert "opencv-python-headless" not in screen
    with pytest.raises(OptionError, match="no extra 'webb'"):
        write_bundle([tiny], tmp_path / "b", extras=["webb"])
    assert not (tmp_path / "b").exists()


def test_openvino_travels_with_its_weights(tmp_path, monkeypatch):
    (tmp_path / "a.xml").write_text("<?xml version='1.0'?><net/>")
    monkeypatch.setattr(module, "read_facts", lambda path: None)
    with pytest.raises(ModelError, match=r"a\.bin"):
        write_bundle([tmp_path / "a.xml"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "a.bin").write_bytes(b"weights")
    write_bundle([tmp_path / "a.xml"], tmp_path / "out")
    assert (tmp_path / "out" / "models" / "a.bin").read_bytes() == b"weights"
    assert "openvino" in (tmp_path / "out" / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"\x10\0\0\0\0\0\0\0{}", "needs torch: export it first"), (b"no model", "not a model file")],
)
def test_what_cannot_run_on_a_device_is_refused(tmp_path, content, part):
    (tmp_path / "a.safetensors").write_bytes(content + b" " * 20)
    with pytest.raises(ModelError, match=part):
        write_bundle([tmp_path / "a.safetensors"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_targets_that_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, part in (("full", "already there"), ("file", "already there"), ("no/such", "no folder")):
        with pytest.raises(InputError, match=part):
            write_bundle([zoo.DEFAULT_MODEL], tmp_path / name)
    with pytest.raises(OptionError, match="same file name"):
        write_bundle([zoo.DEFAULT_MODEL, zoo.DEFAULT_MODEL], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert write_bundle([zoo.DEFAULT_MODEL], tmp_path / "empty")


def test_a_bundle_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "build_wheel", full)
    with pytest.raises(InputError, match="No space left"):
        write_bundle([zoo.DEFAULT_MODEL], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("python", "part"),
    [("missing-python", "there is no missing-python"), ("old", "needs Python 3.11, .* is Python 3.9.2")],
)
def test_install_says_what_is_missing(bundle, tmp_path, python, part):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(old) if python == "old" else python}
    done = subprocess.run([copy / "install.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert re.search(part, done.stderr)
    assert not (copy / "venv").exists()


def test_start_passes_settings_and_arguments(bundle, tmp_path):
    copy = tmp_path / "a folder with spaces"
    shutil.copytree(bundle, copy)
    (copy / "venv" / "bin").mkdir(parents=True)
    (copy / "venv" / "bin" / "python").write_text('#!/bin/sh\nprintf "%s|" "$EDGESSD_SOURCE" "$@"\n')
    (copy / "venv" / "bin" / "python").chmod(0o755)
    (copy / "edgessd.env").write_text('EDGESSD_SOURCE="rtsp://cam/1"\nEDGESSD_ARGUMENTS="--no-window --every 2"\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGESSD_")}
    done = subprocess.run([copy / "start.sh", "--threads", "2"], env=environment, capture_output=True, text=True)
    assert done.stdout.split("|")[:-1] == [
        *("rtsp://cam/1", "-m", "edgessd.apps.camera"),  # in no argument, which `ps` shows
        *("--model", f"models/{zoo.DEFAULT_MODEL}.onnx", "--no-window", "--every", "2", "--threads", "2"),
    ]


def test_start_takes_a_file_of_options_where_there_is_one(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "venv" / "bin").mkdir(parents=True)
    (copy / "venv" / "bin" / "python").write_text('#!/bin/sh\nprintf "%s|" "$EDGESSD_SOURCE" "$@"\n')
    (copy / "venv" / "bin" / "python").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGESSD_")}
    shell = "./start.sh --print-config > camera.toml; cat camera.toml; echo; ./start.sh --every 2"
    done = subprocess.run(["sh", "-c", shell], env=environment, capture_output=True, text=True, cwd=copy)
    model = f"models/{zoo.DEFAULT_MODEL}.onnx"
    first, second = done.stdout.splitlines()
    assert first == f"0|-m|edgessd.apps.camera|--model|{model}|--no-window|--print-config|"
    assert second == "|-m|edgessd.apps.camera|--config|camera.toml|--every|2|"


def test_camera_for_home_assistant(tmp_path):
    yaml = pytest.importorskip("yaml")
    write_bundle([zoo.DEFAULT_MODEL], tmp_path / "out", home_assistant=True)
    folder = tmp_path / "out"
    assert "paho-mqtt" in (folder / "requirements.txt").read_text()
    settings = (folder / "edgessd.env").read_text()
    assert 'EDGESSD_ARGUMENTS="--no-window --home-assistant"\n' in settings
    assert 'EDGESSD_MQTT_PASSWORD=""\n' in settings and 'EDGESSD_ON_DETECT="person"\n' in settings
    assert (folder / "edgessd.env").stat().st_mode & 0o777 == 0o600
    card = yaml.safe_load((folder / "home-assistant.yaml").read_text())
    assert card["cards"][1]["entities"][0] == {"entity": "binary_sensor.CAMERA_person"}
    commented = (folder / "home-assistant.yaml").read_text().partition("Edit in YAML.\n#\n")[2]
    automation = yaml.safe_load(re.sub(r"^# ", "", commented, flags=re.MULTILINE))
    assert automation["triggers"][0]["entity_id"] == "binary_sensor.CAMERA_person"
    assert automation["actions"][0]["data"] == {"message": "{{ trigger.to_state.name }}"}
    readme = (folder / "README.md").read_text()
    assert "## Home Assistant" in readme and "Settings, Devices & services" in readme


def test_start_hands_the_settings_for_home_assistant_on(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "venv" / "bin").mkdir(parents=True)
    (copy / "venv" / "bin" / "python").write_text('#!/bin/sh\necho "$EDGESSD_MQTT|$EDGESSD_ON_DETECT"\n')
    (copy / "venv" / "bin" / "python").chmod(0o755)
    with (copy / "edgessd.env").open("a") as file:
        file.write('EDGESSD_MQTT="mqtt://me@host"\nEDGESSD_ON_DETECT="person,traffic light"\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGESSD_")}
    done = subprocess.run([copy / "start.sh"], env=environment, capture_output=True, text=True)
    assert done.stdout == "mqtt://me@host|person,traffic light\n"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(bundle, tmp_path):
    unit = tmp_path / "edgessd.service"
    (tmp_path / "start.sh").write_text("#!/bin/sh\n")
    (tmp_path / "start.sh").chmod(0o755)
    unit.write_text((bundle / "edgessd.service").read_text().replace("/opt/edgessd", str(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "edgessd.service" not in done.stderr, done.stderr


def test_the_command(tmp_path):
    line = [sys.executable, "-m", "edgessd", "bundle", zoo.DEFAULT_MODEL, "-o", tmp_path / "out"]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "install.sh" in done.stdout
    again = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
