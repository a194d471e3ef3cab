import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")

PROGRAM = """
import resource, sys, torch
from edgessd._memory import kept
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(40_000_000, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
with kept(enabled=sys.argv[1] == "1"):
    with kept():
        pass  # the inner one ends nothing
    for _ in range(8):  # the heap takes some rounds to settle: each leaves a splinter beside its block
        faults()
    inside = faults()
print(inside, faults())
"""


def faults(enabled, **environment):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, enabled], check=True, capture_output=True, text=True, env=environment
    )
    return [int(count) for count in result.stdout.split()]


def test_memory_of_tensors_is_kept_inside_and_given_back_afterwards():
    inside, after = faults("1")
    assert inside < 5 * 1000  # 40 MB are 9,766 pages
    # Given back, the pages are asked for anew: at least by the first block, which may then stay in the heap.
    assert after > 9000


@pytest.mark.parametrize(("enabled", "environment"), [("0", {}), ("1", {"MALLOC_MMAP_THRESHOLD_": "131072"})])
def test_nothing_is_changed_where_it_is_off_or_the_user_decided(enabled, environment):
    assert faults(enabled, **environment)[0] > 5 * 9000
