#!/bin/sh
# The core and the LiteRT and ONNX runtimes in an arm64 userland (Debian bookworm, as on a Raspberry Pi) under
# emulation. Not part of `make test`: it takes ten minutes on an idle machine, needs root, and two gigabytes of disk.
#
#   tests/arm64/run.sh [PYTEST ARGUMENTS...]      default: the tests named below
#
# PYTHON   a Python with edgessd and pip, for fetching wheels and for comparing answers (default: python3)
# ARM64    folder of the userland, kept between runs (default: /var/tmp/edgessd-arm64)
# CPU      what qemu emulates: cortex-a53 (Pi 3), cortex-a72 (Pi 4), cortex-a76 (Pi 5, the default). Not qemu's own
#          default `max`: it has SVE with vectors that no such board has, where XNNPACK's int8 kernels answer wrongly.
# MODEL    a .tflite model whose answers on the bundled photos are compared, too
#
# Needs on the host: apt-get install qemu-user-static binfmt-support debootstrap
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
cpu=${CPU:-cortex-a76}
base=${ARM64:-/var/tmp/edgessd-arm64}
root=$base/root
wheels=$base/wheels

step() { echo "== $(date +%T) $*"; }
fail() { echo "error: $*" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "mounting and chroot need root"
[ "$(uname -m)" != aarch64 ] || fail "this machine is arm64 itself: run the tests as they are"
for tool in debootstrap qemu-aarch64-static update-binfmts; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install qemu-user-static binfmt-support debootstrap"
done
mkdir -p "$base" "$wheels"

step "emulator"
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    fail "binfmt_misc cannot be mounted: the kernel must allow it (a privileged container, for example)"
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

step "userland"
if [ ! -e "$base/.userland" ]; then
    rm -rf --one-file-system "$root"
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$base/debootstrap.log" 2>&1 ||
        fail "debootstrap failed, see $base/debootstrap.log"
    touch "$base/.userland"
fi
[ "$(chroot "$root" uname -m)" = aarch64 ] || fail "the userland does not run"

step "wheels"
# opencv-python needs libxcb, which an edge device does not have: headless is the edge's choice.
"$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --python-version 3.11 \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 -c "$here/constraints.txt" -d "$wheels" \
    numpy opencv-python-headless onnxruntime msgspec typer ai-edge-litert onnx pytest hypothesis pillow

step "install"
rm -rf "$root/edgessd"
mkdir -p "$root/edgessd" "$root/wheels"
cp "$wheels"/*.whl "$root/wheels/"
tar -C "$here" -c --exclude=__pycache__ tests pyproject.toml README.md CHANGELOG.md | tar -C "$root/edgessd" -x
cp -r "$here/edgessd/zoo/photos" "$root/edgessd/photos"
# As on a device: the wheel of `edgessd bundle`.
(cd "$here" && "$python" -c 'import sys; from pathlib import Path; from edgessd.apps.bundle.wheel import build_wheel
build_wheel(Path(sys.argv[1]))' "$root/edgessd")
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
# The host's /sys describes another processor, on which onnxruntime crashes; two files of it are enough.
mkdir -p "$root/sys/devices/system/cpu"
echo 0 | tee "$root/sys/devices/system/cpu/possible" >"$root/sys/devices/system/cpu/present"
mountpoint -q "$root/dev/shm" || { mkdir -p "$root/dev/shm"; mount -t tmpfs tmpfs "$root/dev/shm"; }
trap 'umount "$root/dev/shm" "$root/proc"' EXIT
inside() {
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/venv/bin:/usr/bin:/bin LANG=C.UTF-8 OMP_NUM_THREADS=1 QEMU_CPU="$cpu" \
        sh -c "cd /edgessd && $*"
}
if [ ! -x "$root/venv/bin/pytest" ]; then
    inside "python3 -m venv /venv"
    inside "pip install --quiet --no-index --find-links /wheels numpy opencv-python-headless onnxruntime msgspec typer \
        ai-edge-litert onnx pytest hypothesis pillow"
fi
inside "pip install --quiet --no-index --no-deps --force-reinstall edgessd-*.whl"
inside "python -c 'import platform, cv2, numpy, onnxruntime, ai_edge_litert; print(platform.machine(), \
    platform.python_version(), \"numpy\", numpy.__version__, \"cv2\", cv2.__version__, \"onnxruntime\", \
    onnxruntime.__version__, \"litert\", ai_edge_litert.__version__)'"

step "answers on the bundled photos, compared with this machine's"
check() { # MODEL inside, MODEL here, name
    inside "edgessd detect photos --model $1 --json /edgessd/$3.json" >/dev/null
    (cd "$here" && "$python" -m edgessd detect edgessd/zoo/photos --model "$2" --json "$base/$3.json" >/dev/null)
    "$python" "$here/tests/arm64/same_answers.py" "$base/$3.json" "$root/edgessd/$3.json"
}
for cpu in cortex-a72 "$cpu"; do
    echo "  -- $cpu"
    check edgessd-coco edgessd-coco onnx
    check edgessd-coco.tflite edgessd-coco.tflite litert
done
if [ -n "${MODEL:-}" ]; then
    cp "$MODEL" "$root/edgessd/model.tflite"
    check model.tflite "$MODEL" model
fi

step "benchmark (emulated: only that it runs)"
inside "edgessd benchmark --runs 3 --seconds 1 --threads 1 --runtimes cpu"

step "tests"
if [ $# = 0 ]; then
    set -- tests/ops tests/runtimes tests/io tests/test_detector.py tests/test_model_file.py tests/test_spec.py \
        tests/test_results.py tests/test_package.py
fi
inside "python -m pytest -q -m 'not slow' -p no:cacheprovider --hypothesis-profile=ci $*"
step "done"
