import os
import subprocess
import sys

import pytest

from edgessd import zoo
from edgessd.apps.benchmark.adb import PROGRAM, Phone, measure_on_phone, parse
from edgessd.apps.benchmark.records import Row, Task
from edgessd.errors import DependencyError, DeviceError, OptionError

COMMON = Task(kind="speed", model="", runs=50, warmup=10, seconds=20)

# As LiteRT's benchmark_model prints; its lines differ a little from version to version.
ANSWER = """\
INFO: Loaded model /data/local/tmp/edgessd-benchmark.tflite
INFO: The input model file size (MB): 5.12
INFO: count=10 first=9000 curr=7000 min=6900 max=9000 avg=7200 std=500 p5=6900 median=7100 p95=9000
INFO: count=52 first=6400 curr=6200 min=6000 max=8000 avg=6300.5 std=300 p5=6010 median=6250 p95=7100
INFO: Inference timings in us: Init: 25000, First inference: 31000, Warmup (avg): 7200, Inference (avg): 6300.5
INFO: Memory footprint delta from the start of the tool (MB): init=6.5 overall=22.25
"""
OLD_ANSWER = """\
count=1 curr=1357602

count=50 first=249042 curr=250889 min=247067 max=254474 avg=2.49684e+05 std=1442
Inference timings in us: Init: 16242, First inference: 360262, Warmup (avg): 304586, Inference (avg): 2.49684e+05
Peak memory footprint (MB): init=4.92969 overall=138.809
"""


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """A stand-in for adb: a shell script that notes what it is asked and answers as a phone would."""
    log = tmp_path / "log"

    def install(shell='case "$*" in *--use_gpu*) cat "$D/gpu";; *) cat "$D/answer";; esac', before=""):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (tmp_path / "answer").write_text(ANSWER)
        (tmp_path / "gpu").write_text(f"{ANSWER}ERROR: the graph will not be executed by the delegate.\n")
        script = f"""#!/bin/sh
D={tmp_path}
echo "$*" >> {log}
{before}
[ "$1" = -s ] && shift 2
case "$*" in
"shell getprop ro.product.model") echo "Pixel 9";;
"shell getprop ro.product.manufacturer") echo Google;;
"shell getprop"*) echo x;;
"shell nproc") echo 8;;
"shell test -x"*) echo yes;;
"shell {PROGRAM}"*) {shell};;
esac
"""
        (folder / "adb").write_text(script)
        (folder / "adb").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return log

    return install


@pytest.fixture
def tiny(request):
    return str(request.path.parents[2] / "data" / "tiny.tflite")


def measure(models, engines=("all",), threads=(1, 4), device="adb", program=None):
    return measure_on_phone(Phone(device), models, engines, threads, COMMON, program)


def test_a_phone_is_measured(adb, tiny):
    log = adb()
    report = measure([tiny])
    assert [(row.threads, row.status) for row in report.rows] == [(1, "ok"), (4, "ok")]
    row = report.rows[0]
    assert (row.stages["run"].median, row.stages["run"].p90, row.stages["run"].p99) == (6.25, 7.1, 8.0)
    assert (row.first, row.load, row.memory_model, row.runs) == (31.0, 25.0, 22.25, 52)
    assert row.rate == pytest.approx(1e6 / 6300.5)
    assert (report.machines[0].board, report.machines[0].cores) == ("Google Pixel 9", 8)
    asked = log.read_text()
    assert f"push {tiny} /data/local/tmp/edgessd-benchmark.tflite" in asked
    assert "--num_threads=4" in asked
    assert "--num_runs=50 --warmup_runs=10 --max_secs=20" in asked
    assert "rm -f /data/local/tmp/edgessd-benchmark.tflite" in asked


def test_of_a_bundled_model_the_phone_gets_the_tflite_file(adb):
    log = adb()
    (row,) = measure([zoo.DEFAULT_MODEL], threads=(1,)).rows
    assert (row.status, row.model) == ("ok", zoo.DEFAULT_MODEL)
    assert f"{zoo.DEFAULT_MODEL}.tflite" in log.read_text()


def test_one_phone_of_several_and_a_program_of_ones_own(adb, tiny, tmp_path):
    log = adb()
    (tmp_path / "program").write_text("x")
    report = measure([tiny], device="adb:ABC1", program=tmp_path / "program", threads=(None,))
    assert report.rows[0].machine == "ABC1"
    lines = log.read_text().splitlines()
    assert all(line.startswith("-s ABC1 ") for line in lines)
    assert f"-s ABC1 push {tmp_path / 'program'} {PROGRAM}" in lines
    assert "--num_threads" not in log.read_text()


def test_a_delegate_that_quietly_leaves_it_to_the_processor_is_absent(adb, tiny):
    adb()
    rows = measure([tiny], ("litert", "litert:gpu"), (1,)).rows
    assert [(row.runtime, row.status) for row in rows] == [("litert", "ok"), ("litert:gpu", "absent")]
    assert "gpu refuses" in rows[1].reason


def test_other_models_and_broken_ones_are_rows(adb, tiny, tmp_path):
    adb(shell='echo "ERROR: Failed to load model"')
    rows = measure([tiny, str(zoo.resolve_model()), str(tmp_path / "missing.tflite")], threads=(1,)).rows
    assert [row.status for row in rows] == ["failed"] * 3
    assert "Failed to load model" in rows[0].reason
    assert "no TFLite file" in rows[1].reason
    assert "missing.tflite" in rows[2].reason


@pytest.mark.parametrize(
    ("before", "part"),
    [
        ("echo 'adb: no devices/emulators found' >&2; exit 1", "finds no phone"),
        ("echo 'error: device unauthorized.' >&2; exit 1", "does not trust this computer"),
        ("echo 'error: more than one device/emulator' >&2; exit 1", "adb:SERIAL"),
        ("echo \"error: device 'X' not found\" >&2; exit 1", "finds no phone"),
        ("echo 'error: closed' >&2; exit 1", "asking the phone failed: error: closed"),
        ('case "$*" in "shell test"*) echo no; exit 0;; esac', "benchmark_model is not on the phone"),
    ],
)
def test_what_can_be_wrong_with_a_phone(adb, tiny, before, part):
    adb(before=before)
    with pytest.raises(DeviceError, match=part):
        measure([tiny])


def test_a_computer_without_adb(tiny, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DependencyError, match="apt-get install adb"):
        measure([tiny])
    with pytest.raises(OptionError, match="litert:nnapi"):
        measure([tiny], ("onnx",))


def test_an_older_program_gives_the_mean():
    row = Row(model="m", runtime="litert")
    parse(OLD_ANSWER, row)
    assert row.stages["run"].median == pytest.approx(249.684)
    assert row.stages["run"].p99 == pytest.approx(254.474)
    assert "the mean" in row.notes[0]


def test_the_command_shows_the_phone_beside_this_machine(adb, tiny):
    adb()
    line = [sys.executable, "-m", "edgessd", "benchmark", tiny, "--device", "adb", "--runs", "2", "--threads", "1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "phone" in done.stdout
    assert "6.25" in done.stdout
    assert "network alone" in done.stdout
