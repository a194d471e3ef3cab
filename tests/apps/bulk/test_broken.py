"""What breaks in the middle of a run: a worker, the driver, a machine, the disk; and buckets. Slow."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgessd import Detector, zoo
from edgessd.apps.bulk import detect_many
from edgessd.apps.bulk.sources import find_pictures
from edgessd.errors import InputError
from edgessd.io import images

pytestmark = pytest.mark.slow

PICTURES = 2000
BATCH = 25


@pytest.fixture(scope="module")
def long_list(pictures, tmp_path_factory):
    """A list of 2,000 lines, the ten pictures again and again."""
    path = tmp_path_factory.mktemp("long") / "list.txt"
    path.write_text("\n".join(f"{pictures}/picture {number % 10}.jpg" for number in range(PICTURES)))
    return path


def check_every_picture_once(rows, long_list):
    assert [row.index for row in rows] == list(range(PICTURES))
    assert [row.path for row in rows] == long_list.read_text().splitlines()
    assert all(row.error is None for row in rows)
    by_path = {}
    for row in rows:  # what was done twice or elsewhere is the same
        assert by_path.setdefault(row.path, (row.boxes, row.scores)) == (row.boxes, row.scores)


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


def parts(output):
    return sorted(output.glob("part-*.parquet")) if output.is_dir() else []


def processes(words):
    """Pids and command lines that contain all these words."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(word in line for word in words):
                found[int(entry.parent.name)] = line
    return found


def children(pid):
    """Pids of all descendants."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found, todo = [], [pid]
    while todo:
        here = todo.pop()
        below = [each for each, parent in parents.items() if parent == here]
        found += below
        todo += below
    return found


DRIVER = """
    import sys
    from edgessd.cli.main import main
    main()
"""


def start(*arguments, prefix=(), **environment):
    line = [*prefix, sys.executable, "-c", textwrap.dedent(DRIVER), *map(str, arguments)]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def finish(process):
    text, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return text


def test_the_driver_is_killed_and_the_run_goes_on(long_list, tmp_path, rows_of, manifest_of):
    output = tmp_path / "out"
    driver = start("bulk", long_list, "-o", output, "--batch-size", BATCH, "--workers", 2)
    wait_for(lambda: len(parts(output)) >= 10)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not processes(["MapWorker"]))  # Ray's processes go when their driver is gone
    before = {path: path.stat().st_mtime_ns for path in parts(output)}
    assert 10 <= len(before) < PICTURES // BATCH
    text = finish(start("bulk", long_list, "-o", output, "--batch-size", BATCH, "--workers", 2, "--resume"))
    check_every_picture_once(rows_of(output), long_list)
    again = [path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    assert not again  # what was finished is not done twice; what was not was in the hands of a worker, one block each
    runs = manifest_of(output).runs
    assert runs[1].pictures == PICTURES - BATCH * len(before)
    assert f"{BATCH * len(before)} done before" in text


def test_a_worker_is_killed(here, long_list, tmp_path, rows_of):
    output, killed = tmp_path / "out", []

    def kill(progress):
        if not killed and progress.pictures >= 5 * BATCH:
            killed.append(min(processes(["ray::MapWorker"])))
            os.kill(killed[0], signal.SIGKILL)

    summary = detect_many(long_list, output, batch_size=BATCH, workers=2, progress=kill)
    assert killed
    assert summary.pictures == PICTURES
    check_every_picture_once(rows_of(output), long_list)


KILLER = """
    import os
    from edgessd.io import images

    decode = images.decode_image

    def decode_or_die(data, *, name):
        if name.endswith("killer.jpg"):
            os._exit(1)
        return decode(data, name=name)

    images.decode_image = decode_or_die
"""


def test_a_picture_that_kills_its_worker_is_a_row_with_its_error(pictures, tmp_path, rows_of):
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(KILLER))  # stands for a decoder that crashes
    shutil.copyfile(pictures / "picture 0.jpg", tmp_path / "killer.jpg")
    names = [str(pictures / f"picture {number}.jpg") for number in range(10)]
    names.insert(7, str(tmp_path / "killer.jpg"))
    (tmp_path / "list.txt").write_text("\n".join(names))
    output = tmp_path / "out"
    text = finish(
        start("bulk", tmp_path / "list.txt", "-o", output, "--batch-size", 3, "--workers", 1, PYTHONPATH=str(tmp_path))
    )
    assert "11 pictures, 1 of them with an error" in text
    rows = rows_of(output)
    assert [row.path for row in rows] == names
    assert [row.error is not None for row in rows] == [name.endswith("killer.jpg") for name in names]
    assert "2 workers died" in rows[7].error
    assert not (output / "_trail").exists()


CLUSTER = """
    import json, os, signal, sys, threading, time
    from pathlib import Path
    from edgessd.apps.bulk import detect_many, on_ray
    from ray.cluster_utils import Cluster

    source, output, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    killed = []

    def kill(progress):
        if not killed and progress.pictures >= 10 * batch:
            for info in second.all_processes["raylet"]:
                killed.append(info.process.pid)
                children = Path(f"/proc/{info.process.pid}/task/{info.process.pid}/children").read_text().split()
                workers = [pid for pid in children if b"MapWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
                for pid in [*children, info.process.pid]:
                    os.kill(int(pid), signal.SIGKILL)
                print(json.dumps({"killed": len(children), "workers": len(workers)}), flush=True)

    done = detect_many(source, output, address=cluster.address, batch_size=batch, workers=4, progress=kill)
    print(json.dumps(done._asdict()), flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs a network of its own (root)")
def test_a_machine_of_the_cluster_is_killed(long_list, tmp_path, rows_of):
    """Two nodes in a network that has only loopback, because Ray takes the host's address for 127.0.0.1 otherwise."""
    script, output = tmp_path / "cluster.py", tmp_path / "out"
    script.write_text(textwrap.dedent(CLUSTER))
    inside = f"ip link set lo up && exec {sys.executable} {script} {long_list} {output} {BATCH}"
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines[0]["workers"] >= 1
    assert lines[1]["pictures"] >= PICTURES
    check_every_picture_once(rows_of(output), long_list)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs a disk of its own (root)")
def test_a_full_disk_ends_the_run_in_a_line(long_list, tmp_path):
    size = zoo.resolve_model().stat().st_size // 1024 + 300  # the model and some blocks
    command = f"mount -t tmpfs -o size={size}k tmpfs {tmp_path} && exec " + " ".join(
        [sys.executable, "-m", "edgessd", "bulk", str(long_list), "-o", f"{tmp_path}/out", "--batch-size", "10"]
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr[-3000:]
    assert re.search(r"part-\d+.parquet: No space left on device; what is finished stays", done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def bucket(monkeypatch):
    """A local S3 server with an empty bucket `bulk`."""
    server_module = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[server]'")
    import pyarrow.fs

    from edgessd.apps.bulk import storage

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    storage._bucket_system.cache_clear()
    fs = pyarrow.fs.S3FileSystem(
        endpoint_override=f"http://{host}:{port}", region="us-east-1", allow_bucket_creation=True
    )
    fs.create_dir("bulk")
    yield fs
    storage._bucket_system.cache_clear()
    server.stop()


def test_a_bucket_is_read_from_and_written_to(bucket, pictures, tmp_path, rows_of, manifest_of):
    from edgessd.apps.bulk.convert import convert

    for path in sorted(pictures.iterdir()):
        with bucket.open_output_stream(f"bulk/pictures/{'deep/' if '7' in path.name else ''}{path.name}") as stream:
            stream.write(path.read_bytes())
    assert list(find_pictures("s3://bulk/pictures").paths) == [
        f"s3://bulk/pictures/picture {number}.jpg" for number in (0, 1, 2, 3, 4, 5, 6, 8, 9)
    ]
    assert list(find_pictures("s3://bulk/pictures/**/*[789].jpg").paths) == [
        f"s3://bulk/pictures/{name}.jpg" for name in ("deep/picture 7", "picture 8", "picture 9")
    ]
    with pytest.raises(InputError, match="no pictures or Parquet files there"):
        find_pictures("s3://bulk/nothing")
    lines = [f"s3://bulk/pictures/picture {number}.jpg" for number in (0, 1, 2)]
    lines += ["s3://bulk/missing.jpg", "s3://nowhere/a.jpg", str(pictures / "picture 3.jpg")]
    with bucket.open_output_stream("bulk/list.txt") as stream:
        stream.write("\n".join(lines).encode())

    options = ["bulk", "s3://bulk/list.txt", "-o", "s3://bulk/out", "--batch-size", 2, "--workers", 1]
    finish(start(*options))
    rows = rows_of("s3://bulk/out")
    assert [row.path for row in rows] == lines
    assert [row.error is None for row in rows] == [True, True, True, False, False, True]
    assert rows[3].error == "s3://bulk/missing.jpg: there is nothing at this address"
    assert rows[4].error.startswith("s3://nowhere/a.jpg: ")
    with Detector.load() as detector:
        for row in (*rows[:3], rows[5]):
            assert row.scores == detector(pictures / row.path.rpartition("/")[2]).scores.tolist()
    assert manifest_of("s3://bulk/out").complete

    bucket.delete_file("bulk/out/part-00000001.parquet")
    finish(start(*options, "--resume"))
    assert [row.index for row in rows_of("s3://bulk/out")] == [0, 1, 2, 3, 4, 5]
    assert convert("s3://bulk/out", "csv", tmp_path / "a.csv").pictures == 4
    assert find_pictures("s3://bulk/out").paths  # a result is a source for another model


def test_dead_hosts_cost_their_limit_and_no_more(tmp_path, monkeypatch):
    """An address that never answers, many times: they are waited for together."""
    import socket

    from edgessd.apps.bulk import plan, reading

    monkeypatch.setattr(reading, "read_encoded", lambda path: images.read_encoded(path, timeout=1.0))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:  # takes connections and says nothing
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.jpg"

        class Source:
            root = "/"

        begun = time.monotonic()
        read = reading.read_ahead(plan.Block(0, 0, [address] * 32), Source)
        assert time.monotonic() - begun < 8  # two rounds of a second each; one after the other it would be 32
    assert all("not read within 1 s" in each.error for each in read)
