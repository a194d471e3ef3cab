"""How many threads an engine gets where the user does not say."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def default_threads(root: Path = Path("/")) -> int | None:
    """Return one thread for each core that this process may use, by its CPU affinity and its cgroup's quota.

    Two hardware threads of one core count once, as in onnxruntime. A quota of 1.5 processors gives 2. Engines count the
    machine's cores instead: in a container, or under `taskset`, their threads then wait for each other.
    None where the system does not tell (macOS, Windows): the engine's own choice.

    root: where /proc and /sys lie.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    cores = len({_core(root, number) for number in usable})
    return max(1, math.ceil(min(cores, *_quotas(root))))


def _core(root: Path, number: int) -> str:
    """What the hardware threads of one core have in common."""
    topology = root / "sys/devices/system/cpu" / f"cpu{number}" / "topology"
    return _read(topology / "thread_siblings_list") or str(number)


def _quotas(root: Path) -> Iterator[float]:
    """Processors that the process's cgroup and those above it may use; infinity for no limit."""
    yield math.inf
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            for folder in _upwards(root / "sys/fs/cgroup", path):
                yield _share(*_read(folder / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                for folder in _upwards(root / "sys/fs/cgroup" / mount, path):
                    yield _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The folder of a cgroup and those above it; inside a container often only the mount itself is there."""
    folder = mount / path.strip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _share(quota: str = "", period: str = "") -> float:
    """A quota and its period, in microseconds, as processors; `max`, -1 or nothing readable is no limit."""
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return share if share > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
