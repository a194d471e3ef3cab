"""Which runtimes `edgessd.detect` keeps."""

import gc
import os
import threading
import weakref

import pytest

from edgessd.errors import EdgeSSDError
from edgessd.runtimes import FakeRuntime
from edgessd.runtimes.cache import RuntimeCache


@pytest.fixture
def loads(monkeypatch):
    """The files that were loaded, in order."""
    paths = []
    monkeypatch.setattr(
        "edgessd.runtimes.cache.load_runtime", lambda path, **_: paths.append(path.name) or FakeRuntime()
    )
    return paths


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{name}.onnx" for name in "abcdef"]
    for path in paths:
        path.write_bytes(b"model")
    return paths


def test_the_one_that_was_not_used_for_longest_goes_first(loads, files):
    cache = RuntimeCache(size=3)
    a, b, c, d = files[:4]
    for path in (a, b, c, a, d, a, c, b):
        cache.get(path)
    assert loads == ["a.onnx", "b.onnx", "c.onnx", "d.onnx", "b.onnx"]


def test_one_that_goes_ends_with_its_last_user_and_is_not_closed_before(loads, files):
    cache = RuntimeCache(size=1)
    kept = cache.get(files[0])
    gone = weakref.ref(cache.get(files[1]))
    cache.get(files[2])
    gc.collect()
    assert gone() is None
    kept.run(kept._logits[None])


@pytest.mark.parametrize(
    "change", ["content", "same size and time", "time", "another file", "link", "weights", "new weights"]
)
def test_a_file_that_changed_is_loaded_anew(loads, files, tmp_path, change):
    path, other = files[:2]
    beside = path.with_suffix(".bin")
    if change == "weights":
        beside.write_bytes(b"weights")
    if change == "link":
        path.unlink()
        path.symlink_to(other)
    cache = RuntimeCache()
    first = weakref.ref(cache.get(path))
    assert cache.get(path) is first()
    status = path.stat()
    if change == "content":
        path.write_bytes(b"longer model")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "same size and time":
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    elif change == "another file":
        new = tmp_path / "new"
        new.write_bytes(b"MODEL")
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
        new.replace(path)
    elif change == "link":
        path.unlink()
        path.symlink_to(files[2])
    else:
        beside.write_bytes(b"other weights")
    cache.get(path)
    gc.collect()
    assert len(loads) == 2
    assert first() is None or change == "link"  # what was loaded before is gone


def test_the_same_file_by_other_names_is_the_same(loads, files, tmp_path, monkeypatch):
    cache = RuntimeCache()
    (tmp_path / "link.onnx").symlink_to(files[0])
    cache.get(files[0])
    cache.get(tmp_path / "link.onnx")
    monkeypatch.chdir(tmp_path)
    cache.get(files[0].relative_to(tmp_path))
    assert len(loads) == 1
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.onnx").write_bytes(b"model")
    monkeypatch.chdir(tmp_path / "sub")
    cache.get(files[0].relative_to(tmp_path))  # the same words in another folder
    assert len(loads) == 2


def test_options_of_the_engine_count(loads, files, tmp_path):
    cache = RuntimeCache(size=20)
    names = tmp_path / "labels.txt"
    names.write_text("cat")
    spec = FakeRuntime().spec
    for _ in range(2):
        for options in (
            {},
            {"runtime": "onnx"},
            {"threads": 1},
            {"threads": 2},
            {"providers": "cpu"},
            {"providers": ["cpu", "cuda"]},
            {"spec": spec},
            {"spec": FakeRuntime(classes=("cat",)).spec},
            {"labels": ["cat"]},
            {"labels": "coco90"},
            {"labels": names},
        ):
            cache.get(files[0], **options)
    assert len(loads) == 11
    names.write_text("dogs")
    cache.get(files[0], labels=str(names))
    assert len(loads) == 12


def test_threads_that_ask_at_once_load_once(loads, files):
    cache = RuntimeCache()
    threads = [threading.Thread(target=cache.get, args=(files[0],)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_what_cannot_be_loaded_is_not_kept(files, tmp_path):
    cache = RuntimeCache()
    for path in (files[0], tmp_path / "missing.onnx", tmp_path / "loop.onnx", tmp_path / "a\0.onnx"):
        if path.name == "loop.onnx":
            path.symlink_to(path)
        for _ in range(2):
            with pytest.raises(EdgeSSDError):
                cache.get(path)
