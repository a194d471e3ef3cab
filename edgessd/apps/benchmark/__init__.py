"""The benchmark: how fast and how good models are, by runtime, threads and batch, here or on a device.

Every combination is measured in a process of its own (`worker`), so that one cannot warm, starve or crash
another. `plan` makes the combinations, `runner` measures them, and what comes out is a `Report`.
"""

from edgessd.apps.benchmark.plan import Wanted, plan
from edgessd.apps.benchmark.records import Report, Row
from edgessd.apps.benchmark.runner import run_all

__all__ = ["Report", "Row", "Wanted", "plan", "run_all"]
