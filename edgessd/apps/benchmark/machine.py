"""A description of this machine: what a reader needs to know before he compares figures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from edgessd import __version__
from edgessd.apps.benchmark.records import HERE, Machine

# Instructions that decide how fast int8 and float networks run, as Linux spells them.
FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "neon", "asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
PACKAGES = (
    "numpy", "opencv-python", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "ai-edge-litert",
    "tflite-runtime", "openvino", "torch", "torchvision",
)  # fmt: skip


def describe_machine(name: str = HERE) -> Machine:
    """Return what can be known without privileges; nothing heavy is imported."""
    information = _read("/proc/cpuinfo")
    return Machine(
        name=name,
        processor=_processor(information),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        architecture=platform.machine(),
        flags=_flags(information),
        memory=_memory(),
        gpus=_gpus(),
        board=_read("/proc/device-tree/model").strip("\0 \n"),
        system=f"{_distribution()}, {platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions={"edgessd": __version__, **_versions()},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def in_words(machine: Machine) -> str:
    """Return the description in one line."""
    parts = [machine.board, machine.processor, f"{machine.cores} cores", machine.architecture]
    if machine.flags:
        parts.append(" ".join(machine.flags))
    if machine.memory:
        parts.append(f"{machine.memory / 1000:.0f} GB")
    parts.append(", ".join(machine.gpus) or "no GPU found")
    parts.append(machine.system)
    parts.append(f"Python {machine.python}" if machine.python else "")
    parts.append(", ".join(f"{package} {version}" for package, version in machine.versions.items()))
    return "; ".join(part for part in parts if part)


def _processor(information: str) -> str:
    for key in ("model name", "Hardware", "Model"):
        if found := re.search(rf"^{key}\s*:\s*(.+)$", information, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or "unknown processor"


def _flags(information: str) -> list[str]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", information, re.MULTILINE)
    present = set(found[1].split()) if found else set()
    return [flag for flag in FLAGS if flag in present]


def _memory() -> float | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return round(int(found[1]) * 1024 / 1e6) if found else None


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return []
        return [line.strip().replace(", ", ", driver ") for line in answer.stdout.splitlines() if line.strip()]
    return ["NVIDIA Tegra"] if Path("/dev/nvhost-gpu").exists() else []


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
