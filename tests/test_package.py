import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import edgessd

ROOT = Path(__file__).resolve().parent.parent


def test_the_public_list_is_exactly_this():
    assert edgessd.__all__ == [
        "Detection",
        "Detections",
        "Detector",
        "EdgeSSDError",
        "ModelSpec",
        "__version__",
        "detect",
        "load_image",
    ]
    assert dir(edgessd) == edgessd.__all__
    for name in edgessd.__all__:
        assert getattr(edgessd, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        edgessd.nothing  # noqa: B018


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_importing_edgessd_loads_nothing_heavy():
    heavy = ("torch", "cv2", "onnxruntime", "numpy", "msgspec")
    code = f"import edgessd, sys; print([m for m in {heavy} if m in sys.modules])"
    assert run(code).stdout.strip() == "[]"


def test_detecting_never_imports_torch():
    code = (
        "import edgessd, edgessd.zoo, edgessd.cli.main, sys; edgessd.detect(edgessd.zoo.photos()[0]);"
        "print([m for m in ('torch', 'torchvision', 'timm', 'onnx') if m in sys.modules])"
    )
    done = run(code)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("libGL.so.1: cannot open shared object file", "libgl1"),
        ("libxcb.so.1: cannot open shared object file", "opencv-python-headless"),
    ],
)
def test_opencv_without_its_system_libraries_names_the_packages(tmp_path, error, message):
    (tmp_path / "cv2.py").write_text(f"raise ImportError({error!r})\n")
    done = run("from edgessd.cli.main import main; main()", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert error in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_newest_version_of_the_changelog_is_the_packages():
    text = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == edgessd.__version__ == version("edgessd")
