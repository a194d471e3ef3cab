"""Threads that an engine gets by default, from made-up files of /proc and /sys."""

import os

import pytest

from edgessd.errors import OptionError
from edgessd.runtimes import load_runtime
from edgessd.runtimes.threads import default_threads

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine of 8 cores with two hardware threads each, and a process that may use some of the 16."""

    def make(affinity=range(16), cgroup="", siblings=True, **files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(affinity))
        for number in range(16) if siblings else ():
            text = f"{number % 8},{number % 8 + 8}\n"
            write(f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list", text)
        write("proc/self/cgroup", cgroup)
        for name, text in files.items():
            write("sys/fs/cgroup/" + name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs"), text)
        return default_threads(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return make


@pytest.mark.parametrize(
    ("affinity", "threads"), [(range(16), 8), ([3], 1), ([0, 8], 1), ([0, 1], 2), ([0, 8, 1, 9], 2), (range(4, 12), 8)]
)
def test_cores_that_the_process_may_use(machine, affinity, threads):
    assert machine(affinity) == threads


def test_without_topology_every_processor_is_a_core(machine):
    assert machine([0, 8], siblings=False) == 2


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("900000 100000", 8),
        ("30000 10000", 3),
        ("", 8),
        ("junk", 8),
        ("100000 0", 8),
    ],
)
@pytest.mark.parametrize("place", ["cpu_max", "a__cpu_max", "a__b__cpu_max"])
def test_a_quota_of_version_2_here_or_above(machine, quota, threads, place):
    assert machine(cgroup="0::/a/b\n", **{place: quota}) == threads


def test_the_smallest_quota_counts(machine):
    assert machine(cgroup="0::/a", cpu_max="300000 100000", a__cpu_max="400000 100000") == 3


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize(("quota", "threads"), [("250000", 3), ("-1", 8), ("", 8)])
@pytest.mark.parametrize("inside", [True, False])
def test_a_quota_of_version_1(machine, controllers, quota, threads, inside):
    """inside: of a container, the path of the host is not there."""
    folder = "cpu,cpuacct" if "," in controllers else "cpu"
    place = f"{folder}__" + ("" if inside else "docker__x__")
    files = {f"{place}cpu_cfs_quota_us": quota, f"{place}cpu_cfs_period_us": "100000"}
    cgroup = f"12:memory:/m\n4:{controllers}:/docker/x\n3:cpuset:/\n0::/"
    assert machine(cgroup=cgroup, **files) == threads


def test_nothing_to_read(machine, tmp_path):
    assert machine(range(3), siblings=False, cgroup="junk\n::\n\0") == 3
    assert default_threads(tmp_path / "missing") == 3


def test_here_it_is_what_the_system_says():
    threads = default_threads()
    assert threads is not None
    assert 1 <= threads <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("threads", [1.5, "two", [1]])
def test_threads_that_are_no_number(threads):
    with pytest.raises(OptionError, match="threads must be a whole number"):
        load_runtime("model.onnx", threads=threads)
