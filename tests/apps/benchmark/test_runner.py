import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgessd import zoo
from edgessd.apps.benchmark import runner
from edgessd.apps.benchmark.records import Row, Task
from edgessd.apps.benchmark.runner import measure_apart, run_all
from edgessd.model_file import read_spec

TASK = Task(
    kind="speed",
    model=zoo.DEFAULT_MODEL,
    runtime="onnx",
    threads=1,
    images=(str(zoo.photos()[0]),),
    runs=2,
    warmup=1,
    seconds=0.1,
)


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """Puts a shell script in the worker's place."""

    def replace(script):
        path = tmp_path / "worker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(runner.sys, "executable", str(path))

    return replace


def test_a_real_worker_measures_the_bundled_model():
    row = measure_apart(TASK)
    assert (row.status, row.reason) == ("ok", "")
    assert row.engine == "onnxruntime (cpu)"
    spec = read_spec(zoo.resolve_model())
    assert (row.precision, row.boxes) == ("int8", spec.priors.count)
    assert row.input == f"{spec.input.width}x{spec.input.height}"
    assert row.memory_model > 4
    assert row.stages["run"].median > 0


def test_a_worker_is_found_from_any_folder_and_not_led_astray_by_its_files(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert measure_apart(TASK).reason == ""


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({"provider": "cuda"}, "absent", "not present: provider 'cuda'"),
        ({"model": "FILE"}, "failed", "not a model file"),
        ({"images": ("missing.jpg",)}, "failed", "missing.jpg"),
        ({"runtime": "torch"}, "failed", "runtime 'torch' cannot load it"),
    ],
)
def test_mistakes_are_rows_with_a_reason(tmp_path, changes, status, part):
    (tmp_path / "a.onnx").write_text("no model")
    changes = {key: str(tmp_path / "a.onnx") if value == "FILE" else value for key, value in changes.items()}
    task = Task(**{**{name: getattr(TASK, name) for name in TASK.__struct_fields__}, **changes})
    row = measure_apart(task)
    assert row.status == status
    assert part in row.reason


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("kill -SEGV $$", "crashed: SIGSEGV"),
        ("kill -KILL $$", "out of memory"),
        ("echo first; echo 'IndexError: beyond' >&2; exit 1", "broken: IndexError: beyond"),
        ("exit 3", "exit code 3"),
        ("echo '{\"model\": 3}'", "answer cannot be read"),
        ("exec sleep 30", "not done after 0.5 s"),
    ],
)
def test_nothing_a_worker_does_ends_the_benchmark(worker, script, part):
    worker(script)
    row = measure_apart(TASK, timeout=0.5 if "sleep" in script else 20)
    assert row.status == "failed"
    assert part in row.reason
    assert row.key == (zoo.DEFAULT_MODEL, "onnx", 1, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_does_not_outlive_the_benchmark(tmp_path):
    note = tmp_path / "pid"
    slow = tmp_path / "sitecustomize.py"  # makes the worker say who it is, and never finish
    slow.write_text(
        "import os, sys\n"
        "if 'edgessd.apps.benchmark.worker' in sys.orig_argv:\n"
        f"    open({str(note)!r}, 'w').write(str(os.getpid()))\n"
    )
    line = [sys.executable, "-m", "edgessd", "benchmark", "--runs", "100000", "--seconds", "600", "--runtimes", "onnx"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as process:
        assert wait_for(lambda: note.exists() and note.read_text())
        time.sleep(0.5)
        process.kill()
    assert wait_for(lambda: not alive(int(note.read_text())))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def alive(pid):
    """Whether the process runs; an orphan that ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return False


def test_accuracy_goes_into_the_rows_of_its_engine():
    tasks = [
        Task(kind="accuracy", model="a", runtime="onnx"),
        Task(kind="accuracy", model="a", runtime="openvino"),
        Task(kind="speed", model="a", runtime="onnx"),
        Task(kind="speed", model="a", runtime="openvino"),
        Task(kind="speed", model="a", runtime="litert"),
    ]
    order = []

    def measure(task):
        row = Row(model=task.model, runtime=task.engine)
        if task.kind == "accuracy" and task.runtime == "onnx":
            row.accuracy = {"AP": 30.0}
        elif task.kind == "accuracy":
            row.status, row.reason = "failed", "no data"
        return row

    rows = list(run_all(tasks, measure, lambda task, number: order.append((number, task.engine))))
    assert [row.accuracy for row in rows] == [{"AP": 30.0}, {}, {}]
    assert rows[1].notes == ["accuracy not measured: no data"]
    assert order[0] == (0, "onnx")
    assert len(order) == 5


def test_an_absent_engine_is_asked_once():
    tasks = [Task(kind="speed", model="a", runtime="onnx", provider="cuda", batch=batch) for batch in (1, 2, 8)]
    rows = list(run_all(tasks, lambda task: Row(model="a", runtime=task.engine, batch=task.batch, status="absent")))
    assert [row.batch for row in rows] == [1]
