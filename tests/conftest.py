import os
import signal
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

# Tests hold no times: on a busy machine any example may take long.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

# Some tests import onnxruntime before edgessd does, which switches its telemetry off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A background job of a shell, or of `nohup`, has signals ignored; tests of signals want the usual ones.
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
        signal.signal(getattr(signal, name), usual)

# With the core install alone (make test-oldest) there is nothing here to test of the workshop beside it.
if find_spec("torch") is None:
    workshop = ("backbones", "models", "quantization", "export", "training")
    collect_ignore_glob = [*workshop, "test_torchvision_door.py"]

# Types and shapes of arrays are held here alone, see edgessd/_shapes.py; modules are changed while they are imported.
if find_spec("jaxtyping") is not None and find_spec("beartype") is not None:
    from beartype import BeartypeConf, beartype
    from jaxtyping import install_import_hook

    # The hook wants the name of a function: beartype's, by which an int is a float as well.
    sys.modules["shape_checker"] = ModuleType("shape_checker")
    sys.modules["shape_checker"].check = beartype(conf=BeartypeConf(is_pep484_tower=True))
    # `Detections` takes lists, too, and holds its arrays by itself, everywhere.
    held = ["edgessd.ops", "edgessd.results.arrays", "edgessd.training.matching", "edgessd.models"]
    install_import_hook(held, "shape_checker.check")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of tests need not outlive a power cut; a real fsync takes 10 ms and more."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def shared() -> Path:
    """Data and weights of development, beside the project; a user does not have them."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the development data beside the project (../shared)")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _data_module(name):
    """A module of tests/data, which is no package."""
    spec = spec_from_file_location(name, Path(__file__).parent / "data" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_tflite():
    """Tiny TFLite files: tests/data/make_tflite.py."""
    pytest.importorskip("ai_edge_litert")
    return _data_module("make_tflite")


@pytest.fixture(scope="session")
def make_onnx():
    """Tiny ONNX files: tests/data/make_onnx.py."""
    pytest.importorskip("onnx")
    return _data_module("make_onnx")
