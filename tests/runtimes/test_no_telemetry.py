"""No engine reports to anybody: one door to onnxruntime, no socket beyond this machine, no file but our own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgessd
from edgessd import _onnxruntime, zoo
from edgessd.spec import OutputSpec

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"onnxruntime": "_onnxruntime.py", "openvino": "_openvino.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_but_the_door_imports_an_engine_that_reports(package):
    """In the package, in what it writes for others, and in the scripts beside it."""
    wanted = re.compile(
        rf"""^\s*(import|from) {package}\b(?!\.tools)|import_module\(["']{package}["']\)""", re.MULTILINE
    )
    places = [ROOT / name for name in ("edgessd", "recipes", "scripts", "benchmarks") if (ROOT / name).is_dir()]
    files = [file for place in places for file in place.rglob("*") if file.suffix in (".py", ".sh", ".txt", ".html")]
    found = [file.name for file in files if wanted.search(file.read_text(errors="replace"))]
    assert found == [PACKAGES[package]]


def test_documentation_shows_the_switch_with_the_import():
    docs = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    if not docs[0].is_file():
        pytest.skip("the documentation is not here")
    blocks = [block for file in docs for block in re.findall(r"```python\n(.*?)```", file.read_text(), re.DOTALL)]
    direct = [block for block in blocks if re.search(r"^import onnxruntime", block, re.MULTILINE)]
    assert direct
    assert all(block.index("ORT_DISABLE_TELEMETRY") < block.index("import onnxruntime") for block in direct)


def test_the_switch_is_set_when_edgessd_is_imported_and_the_users_own_word_stays(monkeypatch):
    assert os.environ["ORT_DISABLE_TELEMETRY"]
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    _onnxruntime.import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    _onnxruntime.silence()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    assert edgessd.silence is _onnxruntime.silence


PROGRAM = """
import sys, time
from edgessd import Detector
engine, picture, model = sys.argv[1:]
with Detector.load(model, None if engine == "opencv" else engine) as detector:
    assert engine in detector.runtime.name
    detector(picture)
time.sleep(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "litert", "openvino", "torch", "opencv"])
def test_a_detection_opens_no_socket_and_writes_no_file(engine, tmp_path, checkpoint, request):
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    model = str(zoo.resolve_model(runtime=engine))
    if engine == "torch":
        model = checkpoint()
    elif engine == "opencv":
        model = str(_opencv(tmp_path, request))
    elif engine != "onnx":
        pytest.importorskip({"litert": "ai_edge_litert", "openvino": "openvino"}[engine])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, engine, str(zoo.photos()[0]), model]
    watch = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    watched = (
        shutil.which("strace") is not None and subprocess.run([*watch, "true"], capture_output=True).returncode == 0
    )
    done = subprocess.run(
        [*watch, *command] if watched else command,
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [str(file.relative_to(home)) for file in home.rglob("*")] == []
    if not watched:
        pytest.skip("strace is not installed, or may not watch: sockets were not looked at")
    beyond = [line for line in trace.read_text().splitlines() if "AF_INET" in line and not _is_local(line)]
    assert beyond == []


def _is_local(line):
    return "127.0.0.1" in line or '"::1"' in line


def _opencv(folder, request):
    """The tiny file of level raw, raised to the layout that only OpenCV runs."""
    make_onnx = request.getfixturevalue("make_onnx")
    import onnx.version_converter

    from edgessd.export import onnx_file, onnx_layouts

    proto = onnx.version_converter.convert_version(make_onnx.onnx_graph(), 18)
    spec = onnx_layouts.raise_to(proto, make_onnx.level_spec("raw"), OutputSpec(level="nms", layout="opencv"))
    onnx_file.describe(proto, spec)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return folder / "model.onnx"
