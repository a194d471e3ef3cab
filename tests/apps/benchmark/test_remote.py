import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgessd import zoo
from edgessd.apps.benchmark.plan import Wanted
from edgessd.apps.benchmark.records import Machine, Report, Row, Task
from edgessd.apps.benchmark.remote import _files, _there, measure_on_device, side_by_side
from edgessd.apps.benchmark.ssh import Ssh
from edgessd.errors import DeviceError, InputError, OptionError

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
needs_sshd = pytest.mark.skipif(
    SSHD is None or not shutil.which("ssh"), reason="needs sshd: apt-get install openssh-server"
)
COMMON = Task(kind="speed", model="", images=(str(zoo.photos()[0]),), runs=2, warmup=1, seconds=0.2)
WANTED = Wanted(models=(zoo.DEFAULT_MODEL,), runtimes=("onnx",), threads=(1,))

# A Python of the device that is new enough, and whose environments are this test's own interpreter.
PYTHON = f"""\
#!/bin/sh
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin"
    printf '#!/bin/sh\\nexit 0\\n' > "$3/bin/pip"
    printf '#!/bin/sh\\nexec {sys.executable} "$@"\\n' > "$3/bin/python"
    printf '#!/bin/sh\\necho edgessd\\n' > "$3/bin/edgessd"
    chmod 755 "$3"/bin/*;;
*) exit 0;;
esac
"""
OLD_PYTHON = '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n'
# Kills the session that runs it: the cable is pulled.
LOST = """\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exit 0
pid=$$
while ! grep -q '^sshd' /proc/$pid/comm; do pid=$(awk '{print $4}' /proc/$pid/stat); done
kill -9 $pid
sleep 5
"""


class Device:
    """A sshd of our own on this machine: own keys, own port, own home."""

    def __init__(self, folder: Path, python: str | None) -> None:
        self.folder, self.home, tools = folder, folder / "home", folder / "bin"
        for each in (folder, self.home, tools):
            each.mkdir(exist_ok=True)
        if python is not None:
            (tools / "python3").write_text(python)
            (tools / "python3").chmod(0o755)
        (tools / "sh").symlink_to("/bin/sh")
        path = str(tools) if python in (None, OLD_PYTHON) else f"{tools}:/usr/bin:/bin"
        for name in ("host", "user"):
            key = folder / f"{name}_key"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nPasswordAuthentication no\n"
            f'Subsystem sftp internal-sftp\nSetEnv "HOME={self.home}" "PATH={path}"\n'
        )
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        self.config = folder / "config"
        self.config.write_text(
            f"Host board\n HostName 127.0.0.1\n Port {self.port}\n User {getpass.getuser()}\n"
            f" IdentityFile {folder}/user_key\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known\n"
            " GlobalKnownHostsFile /dev/null\n"
        )
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        pytest.skip(f"sshd does not start here: {(folder / 'log').read_text()[-300:]}")

    def ssh(self) -> Ssh:
        return Ssh("ssh://board", self.config)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def device(tmp_path):
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd asks for it
    started = []

    def start(python=PYTHON):
        started.append(Device(tmp_path / f"device{len(started)}", python))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@needs_sshd
def test_the_report_comes_back_and_nothing_but_the_environment_stays_there(device):
    board = device()
    steps = []
    report = measure_on_device(board.ssh(), WANTED, COMMON, say=steps.append)
    (row,) = report.rows
    assert (row.machine, row.model, row.status) == ("board", zoo.DEFAULT_MODEL, "ok")
    assert row.stages["run"].median > 0
    assert [machine.name for machine in report.machines] == ["board"]
    assert [step.split()[0] for step in steps] == ["connecting", "copying", "installing", "measuring"]
    (left,) = (board.home / ".cache" / "edgessd").iterdir()
    assert left.name.startswith("venv-")
    again = measure_on_device(board.ssh(), WANTED, COMMON)  # with the environment that is there
    assert again.rows[0].status == "ok"


@needs_sshd
def test_an_unknown_host_key_is_not_accepted_and_a_changed_one_is_told(device):
    board = device()
    known = board.folder / "known"
    key = known.read_text()
    known.write_text("")
    with pytest.raises(DeviceError, match="not known here: connect once by hand \\(ssh board\\)"):
        measure_on_device(board.ssh(), WANTED, COMMON)
    assert known.read_text() == ""
    other = (board.folder / "user_key.pub").read_text().split()[1]
    known.write_text(key.replace(key.split()[2], other))
    with pytest.raises(DeviceError, match="another one than before"):
        measure_on_device(board.ssh(), WANTED, COMMON)


@needs_sshd
@pytest.mark.parametrize(
    ("python", "part"),
    [
        (None, "has no Python: install it"),
        (OLD_PYTHON, "has Python 3.9.2, edgessd needs Python 3.11"),
        (LOST, "connection to board was lost while installing"),
        (PYTHON.replace("mkdir -p", "echo 'no venv here' >&2; exit 1; mkdir"), "apt-get install python3-venv"),
        (PYTHON.replace(f"exec {sys.executable}", "exec /bin/false"), "installing on board failed"),
    ],
)
def test_what_can_be_wrong_with_a_device(device, python, part):
    board = device(python)
    with pytest.raises(DeviceError, match=part):
        measure_on_device(board.ssh(), WANTED, COMMON)
    cache = board.home / ".cache" / "edgessd"
    assert not cache.exists() or not list(cache.glob("run.*"))


@needs_sshd
def test_a_refused_key_and_a_closed_port(device):
    board = device()
    (board.folder / "user_key.pub").write_text("")
    with pytest.raises(DeviceError, match=r"refuses the login.*ssh-copy-id"):
        measure_on_device(board.ssh(), WANTED, COMMON)
    board.stop()
    with pytest.raises(DeviceError, match=r"cannot be reached: .*refused"):
        measure_on_device(board.ssh(), WANTED, COMMON)


@needs_sshd
@pytest.mark.slow
def test_the_command_shows_the_device_beside_this_machine(device, tmp_path):
    board = device()
    line = [sys.executable, "-m", "edgessd", "benchmark", "--device", "ssh://board", "--ssh-config", board.config]
    line += ["--runs", "2", "--seconds", "0.2", "--threads", "1", "--runtimes", "onnx", "--csv", tmp_path / "a.csv"]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("milliseconds")[0]
    assert "machine" in table
    lines = [line.split()[0] for line in table.splitlines() if line.split() and line.split()[0] in ("here", "board")]
    assert lines[:2] == ["here", "board"]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3


@needs_sshd
@pytest.mark.slow
def test_a_real_environment_is_installed_on_the_device(device):
    board = device(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    report = measure_on_device(board.ssh(), WANTED, COMMON)
    assert report.rows[0].status == "ok"
    assert "torch" not in report.machines[0].versions
    assert "opencv-python-headless" in report.machines[0].versions


@pytest.mark.parametrize(
    "address",
    [
        "board",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://u@h:0",
        "ssh://u@h:99999",
        "ssh://u:pw@h",
        "ssh://h/path",
        "adb2",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(OptionError, match="no address"):
        Ssh(address)


def test_addresses():
    assert Ssh("ssh://pi@raspberrypi.local:2222").by_hand == "ssh -p 2222 pi@raspberrypi.local"
    assert Ssh("ssh://[fe80::1]").by_hand == "ssh fe80::1"
    with pytest.raises(OptionError, match="no ssh configuration"):
        Ssh("ssh://board", Path("missing"))


def test_a_folder_without_wheels_is_refused(tmp_path):
    with pytest.raises(InputError, match="no wheels"):
        measure_on_device(Ssh("ssh://board"), WANTED, COMMON, wheels=tmp_path)


@pytest.mark.parametrize(
    ("runtimes", "suffixes"),
    [(("onnx",), ["onnx"]), (("cpu",), ["onnx", "tflite"]), (("litert:gpu", "onnx"), ["onnx", "tflite"])],
)
def test_of_a_bundled_model_the_files_of_the_wanted_runtimes_travel(runtimes, suffixes):
    wanted = Wanted(models=(zoo.DEFAULT_MODEL,), runtimes=runtimes)
    assert [path.name for path in _files(wanted)] == [f"{zoo.DEFAULT_MODEL}.{suffix}" for suffix in suffixes]
    assert _there(zoo.DEFAULT_MODEL) == zoo.DEFAULT_MODEL
    assert _there("folder/mine.onnx") == "models/mine.onnx"


def test_rows_of_one_combination_stand_side_by_side():
    def report(name, *runtimes):
        machine = Machine(name=name, processor="p", cores=1, architecture="a", system="s")
        return Report(machines=[machine], rows=[Row(machine=name, model="m", runtime=each) for each in runtimes])

    both = side_by_side(report("here", "onnx", "openvino"), report("pi", "litert", "openvino", "onnx"))
    assert [(row.runtime, row.machine) for row in both.rows] == [
        ("onnx", "here"),
        ("onnx", "pi"),
        ("openvino", "here"),
        ("openvino", "pi"),
        ("litert", "pi"),
    ]
    assert [machine.name for machine in both.machines] == ["here", "pi"]
