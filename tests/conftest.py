from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

# With the core install alone (make test-oldest) there is nothing here to test of the workshop beside it.
if find_spec("torch") is None:
    workshop = ("backbones", "models", "quantization", "export", "training")
    collect_ignore_glob = [*workshop, "runtimes/test_torch.py", "test_torchvision_door.py"]

ROOT = Path(__file__).resolve().parent.parent


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
