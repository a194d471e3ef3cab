"""Whole runs, on Ray and without; what a result holds; what is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.apps.bulk import detect_many, job
from edgessd.apps.bulk import worker as worker_module
from edgessd.apps.bulk.plan import read_block
from edgessd.apps.bulk.reading import read_ahead
from edgessd.apps.bulk.storage import Storage
from edgessd.apps.bulk.worker import Worker
from edgessd.errors import DeviceError, EdgeSSDError, InputError, OptionError


def check_rows(rows, mixed_list):
    """Every line once, in order, as `Detector` sees it, or with its error."""
    assert [row.index for row in rows] == list(range(len(mixed_list.lines)))
    assert [row.path for row in rows] == mixed_list.lines
    with Detector.load(score_threshold=0.3) as detector:
        for row in rows:
            if row.path in mixed_list.bad:
                with pytest.raises(EdgeSSDError) as caught:
                    detector(row.path)
                assert row.error == str(caught.value)
                assert (row.width, row.boxes, row.milliseconds) == (None, [], None)
                continue
            found = detector(row.path)
            assert row.error is None
            assert (row.width, row.height) == found.image_size
            np.testing.assert_array_equal(np.array(row.boxes, np.float32).reshape(-1, 4), found.boxes)
            np.testing.assert_array_equal(np.array(row.scores, np.float32), found.scores)
            assert row.labels == found.labels.tolist()
            assert tuple(row.names) == found.names
            assert all(value > 0 for value in row.milliseconds.values())
    assert sum(len(row.scores) for row in rows) > 5


@pytest.fixture(scope="module")
def ray_run(here, mixed_list, tmp_path_factory):
    output, seen = tmp_path_factory.mktemp("ray") / "out", []
    options = {"batch_size": 2, "workers": 2, "score_threshold": 0.3}
    summary = detect_many(mixed_list.path, output, progress=seen.append, **options)
    return output, summary, seen, options


def test_a_run_on_ray_gives_the_rows_of_the_detector(ray_run, rows_of, mixed_list):
    output, summary, seen, _ = ray_run
    check_rows(rows_of(output), mixed_list)
    assert (summary.pictures, summary.failures, summary.skipped, summary.workers) == (13, 5, 0, 2)
    assert summary.rate > 0
    assert len(seen) == 7
    assert seen[-1][:3] == (13, 13, 5)
    assert seen[-1].seconds_left == 0
    assert [each.pictures for each in seen] == sorted(each.pictures for each in seen)


def test_the_manifest_says_what_made_the_rows(ray_run, manifest_of):
    manifest = manifest_of(ray_run[0])
    assert manifest.complete
    assert manifest.model.runtime == "onnx"
    assert len(manifest.model.sha256) == 64
    assert (manifest.source.pictures, manifest.source.blocks) == (13, 7)
    assert (manifest.options.batch_size, manifest.options.score_threshold) == (2, 0.3)
    assert {"edgessd", "ray", "pyarrow", "onnxruntime"} <= set(manifest.runs[0].versions)
    assert manifest.runs[0].ended is not None


def test_a_run_that_was_cut_off_goes_on_with_what_is_missing(ray_run, rows_of, mixed_list, tmp_path, manifest_of):
    output = shutil.copytree(ray_run[0], tmp_path / "out")
    for lost in (1, 4):
        (output / f"part-0000000{lost}.parquet").unlink()
    (output / ".part-00000004.abcd.parquet").write_bytes(b"half")
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    summary = detect_many(mixed_list.path, output, resume=True, **ray_run[3])
    assert (summary.pictures, summary.skipped) == (4, 9)
    check_rows(rows_of(output), mixed_list)
    assert {path.name: path.stat().st_mtime_ns for path in output.glob("part-*") if path.name in before} == before
    assert not list(output.glob(".part*"))
    assert len(manifest_of(output).runs) == 2
    assert detect_many(mixed_list.path, output, resume=True, **ray_run[3]).pictures == 0


def test_a_file_that_cannot_be_written_ends_the_run_in_a_line(here, pictures, tmp_path, monkeypatch):
    output = tmp_path / "out"
    begin = job._begin

    def begin_and_block(*arguments):
        manifest = begin(*arguments)
        (output / "part-00000001.parquet").mkdir()
        return manifest

    monkeypatch.setattr(job, "_begin", begin_and_block)
    with pytest.raises(
        InputError, match=r"^\S*part-00000001.parquet is a folder[^\n]*; what is finished stays: .*--resume$"
    ):
        detect_many(pictures, output, batch_size=5, workers=1)
    assert (output / "part-00000000.parquet").is_file()


def test_without_ray_a_worker_gives_the_same(finished, rows_of, mixed_list):
    check_rows(rows_of(finished), mixed_list)


def test_another_model_or_option_or_source_is_refused(result, mixed_list, manifest_of):
    fine = {"batch_size": 4, "score_threshold": 0.3, "resume": True}
    tiny = Path(__file__).parents[2] / "data" / "tiny.tflite"
    for change, message in (
        ({"model": tiny}, "with model file"),
        ({"batch_size": 5}, "batch size 4, not 5"),
        ({"score_threshold": 0.4}, "score threshold 0.3, not 0.4"),
        ({"classes": ["dog"]}, "classes None"),
        ({"limit": 3}, "limit None, not 3"),
        ({"runtime": "litert"}, "with model file"),
    ):
        with pytest.raises(InputError, match=message):
            detect_many(mixed_list.path, result, **{**fine, **change})
    with pytest.raises(InputError, match="source"):
        detect_many(result, result, **fine)


def test_an_output_that_is_something_else_is_left_alone(result, mixed_list, tmp_path):
    with pytest.raises(InputError, match=r"holds a result already \(4 of 4 blocks\).*--resume"):
        detect_many(mixed_list.path, result)
    with pytest.raises(InputError, match="no result of"):
        detect_many(mixed_list.path, mixed_list.path.parent)
    with pytest.raises(InputError, match="is a file"):
        detect_many(mixed_list.path, mixed_list.path)
    with pytest.raises(InputError, match="nothing to go on with"):
        detect_many(mixed_list.path, tmp_path / "new", resume=True)
    (result / "_manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        detect_many(mixed_list.path, result, resume=True)


def test_wrong_numbers_are_refused(pictures, tmp_path):
    for name in ("workers", "batch_size", "threads", "limit"):
        with pytest.raises(OptionError, match=f"{name} must be at least 1"):
            detect_many(pictures, tmp_path / "out", **{name: 0})
    with pytest.raises(InputError, match="no pictures"):
        detect_many([], tmp_path / "out")


def test_too_many_workers_are_refused(here):
    from edgessd.apps.bulk import on_ray

    assert on_ray.count_workers(None, 1) == 2
    assert on_ray.count_workers(None, 2) == 1
    with pytest.raises(OptionError, match=r"3 workers .* 2 processors .* at most 2"):
        on_ray.count_workers(3, 1)
    with pytest.raises(OptionError, match="at most 2 threads"):
        on_ray.count_workers(None, 8)


def test_a_worker_that_does_not_see_the_result_says_so(tmp_path):
    with pytest.raises(InputError, match=r"does not see .* a folder that all machines share"):
        Worker(str(tmp_path / "elsewhere"))


def test_a_worker_refuses_another_model(result):
    (model,) = (result / "_model").iterdir()
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(InputError, match="does not hold the model of this run"):
        Worker(str(result))


class Death(BaseException):
    """Stands for what ends a process."""


def test_a_picture_at_which_workers_die_is_given_up(result, rows_of, mixed_list, monkeypatch):
    """The block of two pictures that kill: two deaths each after the first, then two rows with an error."""
    (result / "part-00000000.parquet").unlink()
    storage = Storage(str(result))
    killers, deaths = mixed_list.lines[1:3], 0
    decode = worker_module.decode_image

    def decode_or_die(data, *, name):
        if name in killers:
            raise Death
        return decode(data, name=name)

    monkeypatch.setattr(worker_module, "decode_image", decode_or_die)
    block = read_block(storage, 0, 4)
    for after_death in (False, True, True, True, True, True):
        worker = Worker(str(result), after_death)
        try:
            worker.detect_block(0, 0, read_ahead(block, worker.manifest.source))
            break
        except Death:
            deaths += 1
    assert deaths == 5
    rows = rows_of(result)[:4]
    assert [row.error for row in rows] == [None, *(f"{path}: 2 workers died at this picture" for path in killers), None]
    assert rows[3].scores


def command(*arguments, code="", **environment):
    line = [
        sys.executable,
        "-c",
        f"import sys\n{code}\nfrom edgessd.cli.main import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def one_line(done):
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("package", ["ray", "pyarrow"])
def test_without_the_extra_there_is_a_line_with_the_command(package, tmp_path, pictures):
    done = command("bulk", pictures, "-o", tmp_path / "out", code=f"sys.modules[{package!r}] = None")
    assert one_line(done) == f"error: {package} is not installed: pip install 'edgessd[ray]'"
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(tmp_path, pictures, monkeypatch):
    from edgessd.apps.bulk import on_ray

    monkeypatch.setattr(on_ray.ray, "is_initialized", lambda: False)
    with pytest.raises(DeviceError, match=r"no Ray cluster answers at 127\.0\.0\.1:9 .*ray start --head"):
        detect_many(pictures, tmp_path / "out", address="127.0.0.1:9")
    for address in ("nonsense", "ray://127.0.0.1:9"):
        with pytest.raises(OptionError, match="HOST:PORT"):
            detect_many(pictures, tmp_path / "out", address=address)
    assert not (tmp_path / "out").exists()


def test_the_command_converts(result, tmp_path):
    done = command("bulk", result, "--to", "csv", "-o", tmp_path / "a.csv")
    assert done.returncode == 0, done.stderr
    assert "8 pictures" in done.stdout
    assert "5 pictures with an error are left out" in done.stdout


def test_ray_does_not_report_to_its_makers():
    from ray._common.usage import usage_lib

    from edgessd.apps.bulk import on_ray  # noqa: F401

    assert not usage_lib.usage_stats_enabled()


def test_the_manifest_is_plain_json(result):
    assert msgspec.json.decode((result / "_manifest.json").read_bytes())["model"]["name"] == zoo.DEFAULT_MODEL
