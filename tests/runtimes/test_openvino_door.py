import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import os, sys
os.fork = lambda: sys.exit("OpenVINO forked a process")
from edgessd._openvino import import_openvino
openvino = import_openvino()
assert openvino.Core().available_devices
assert "openvino_telemetry" not in sys.modules
"""


def test_importing_openvino_reports_nothing():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
