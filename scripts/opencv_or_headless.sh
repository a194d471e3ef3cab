#!/bin/sh
# Usage: opencv_or_headless.sh PYTHON [CONSTRAINTS]
# opencv-python links to the system's libGL, libxcb and libglib. Where they are missing, this puts
# opencv-python-headless (the same module without windows) in its place, and says so.
set -eu
python=$1
constraints=${2:-constraints.txt}
if error=$("$python" -c 'import cv2' 2>&1); then
    exit 0
fi
echo "import cv2 failed: $(echo "$error" | tail -n 1)"
echo "-> opencv-python-headless takes the place of opencv-python: everything but windows works."
version=$("$python" -c 'from importlib.metadata import version; print(version("opencv-python"))')
"$python" -m pip uninstall --quiet --yes opencv-python
"$python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "opencv-python-headless==$version"
"$python" -c 'import cv2'
