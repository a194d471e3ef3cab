"""Temperature, clock and throttling, where the system lets them be read. Linux only; elsewhere nothing is known."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from edgessd.apps.benchmark.records import Sensors

SYSTEM = Path("/sys")
PROCESS = Path("/proc")


def read_sensors(system: Path = SYSTEM, process: Path = PROCESS) -> Sensors:
    """Read what is there. system, process: the roots of sysfs and procfs."""
    return Sensors(_temperature(system), _clock(system, process), _throttled(system))


def _temperature(system: Path) -> float | None:
    files = [*system.glob("class/thermal/thermal_zone*/temp"), *system.glob("class/hwmon/hwmon*/temp*_input")]
    degrees = [value / 1000 for value in _numbers(files)]
    sane = [value for value in degrees if 0 < value < 150]  # some zones answer with 0 or -273
    return round(max(sane), 1) if sane else None


def _clock(system: Path, process: Path) -> float | None:
    kilohertz = list(_numbers(system.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")))
    if kilohertz:
        return round(sum(kilohertz) / len(kilohertz) / 1000)
    try:
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", (process / "cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return round(sum(map(float, found)) / len(found)) if found else None


def _throttled(system: Path) -> int | None:
    counts = list(_numbers(system.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")))
    flags = _raspberry_flags() if shutil.which("vcgencmd") else None
    if flags is not None:
        counts.append(flags)
    return int(sum(counts)) if counts else None


def _raspberry_flags() -> int | None:
    """How many of the kinds of trouble that a Raspberry Pi reports (voltage, clock, heat) it has now or had."""
    try:
        answer = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
        return (int(answer.stdout.strip().removeprefix("throttled="), 16)).bit_count()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _numbers(files: Iterable[Path]) -> Iterable[float]:
    for file in files:
        try:
            yield float(file.read_text())
        except (OSError, ValueError):
            continue
