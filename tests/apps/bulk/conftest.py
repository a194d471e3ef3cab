import os
import shutil
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from edgessd import zoo
from edgessd._cv2 import cv2

if find_spec("pyarrow") is None or find_spec("ray") is None:  # the core install alone
    collect_ignore_glob = ["test_*.py"]
else:
    from edgessd.apps.bulk import job
    from edgessd.apps.bulk.manifest import finished_blocks, part_name, read_manifest
    from edgessd.apps.bulk.plan import read_block
    from edgessd.apps.bulk.reading import read_ahead
    from edgessd.apps.bulk.rows import read_rows
    from edgessd.apps.bulk.storage import Storage
    from edgessd.apps.bulk.worker import Worker


@pytest.fixture(scope="package")
def here():
    """Ray on this machine, started once for all tests of this folder that need it."""
    from edgessd.apps.bulk import on_ray

    with on_ray._quiet():
        on_ray.ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    yield
    with on_ray._quiet():
        on_ray.ray.shutdown()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of ten small pictures with something in them."""
    folder = tmp_path_factory.mktemp("pictures")
    photos = [cv2.imread(str(path)) for path in zoo.photos()]
    for number in range(10):
        photo = photos[number % len(photos)]
        small = cv2.resize(photo, (320 + 16 * number, 240), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"picture {number}.jpg"), small)
    return folder


@pytest.fixture(scope="session")
def mixed_list(pictures, tmp_path_factory):
    """A text file of eight pictures, one of them twice, and of five lines that are none."""
    folder = tmp_path_factory.mktemp("list")
    (folder / "empty.jpg").touch()
    half = (pictures / "picture 0.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(half[: len(half) // 2])
    (folder / "text.jpg").write_text("not a picture")
    good = [str(pictures / f"picture {number}.jpg") for number in (0, 1, 2, 3, 4, 5, 0, 6)]
    bad = [
        folder / "empty.jpg",
        folder / "half.jpg",
        folder / "text.jpg",
        folder / "missing.jpg",
        "http://127.0.0.1:9/a.jpg",
    ]
    lines = [*good[:4], *map(str, bad), *good[4:]]
    (folder / "list.txt").write_text("\n".join(lines) + "\n\n")
    return SimpleNamespace(path=folder / "list.txt", lines=lines, bad=list(map(str, bad)))


@pytest.fixture(scope="session")
def run_here():
    """A function that makes a result in this process, without Ray; blocks: only these."""

    def run(source, output, *, batch_size=4, limit=None, column=None, blocks=None):
        storage = Storage(os.fspath(output))
        model, options, files = job._model(None, None, 1, batch_size, limit, 0.3, None, None, None)
        job._begin(storage, source, os.fspath(source), column, model, options, files)
        worker = Worker(os.fspath(output))
        manifest = worker.manifest
        for number in range(manifest.source.blocks) if blocks is None else blocks:
            block = read_block(storage, number, batch_size)
            worker.detect_block(number, block.first, read_ahead(block, manifest.source))
        return all_rows(output)

    return run


def all_rows(output):
    storage = Storage(os.fspath(output))
    return [row for block in finished_blocks(storage) for row in read_rows(storage, part_name(block))]


@pytest.fixture(scope="session")
def rows_of():
    return all_rows


@pytest.fixture(scope="session")
def manifest_of():
    return lambda output: read_manifest(Storage(os.fspath(output)))


@pytest.fixture(scope="session")
def finished(mixed_list, run_here, tmp_path_factory):
    output = tmp_path_factory.mktemp("result") / "out"
    run_here(mixed_list.path, output)
    return output


@pytest.fixture
def result(finished, tmp_path):
    """A finished result of the mixed list, in four blocks; a copy for every test."""
    return shutil.copytree(finished, tmp_path / "out")
