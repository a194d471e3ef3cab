"""Whether a window can be opened, found out without risking the process."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from edgessd._cv2 import cv2

_PROBE = "import cv2; cv2.namedWindow('edgessd'); cv2.waitKey(1); cv2.destroyAllWindows()"


def why_no_window() -> str | None:
    """Return why no window can be opened, None when one can."""
    gui = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
    if gui is not None and gui.group(1) == "NONE":
        return "this OpenCV is the build without windows (opencv-python-headless)"
    if not sys.platform.startswith("linux"):
        return None
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    # With a display that does not answer Qt ends the whole process, so another one tries first.
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "the display does not answer"
    return None if probe.returncode == 0 else "the display cannot be used"
