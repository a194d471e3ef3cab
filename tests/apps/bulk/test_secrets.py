"""Logins and signatures in the addresses of a run: used, and shown nowhere."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from edgessd.apps.bulk import job, plan
from edgessd.apps.bulk.reading import read_picture, shown_path
from edgessd.apps.bulk.sources import Paths, find_pictures
from edgessd.apps.bulk.storage import Storage
from edgessd.errors import InputError

SECRET = ["http://me:S3CRET@127.0.0.1:1/a.jpg", "http://127.0.0.1:1/b.jpg?X-Amz-Signature=S3CRET", "c.jpg"]
PLAIN = ["http://127.0.0.1:1/a.jpg?x=1", "b@c.jpg"]


def test_plan_with_secrets_is_its_owners_and_goes_in_the_end(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert plan.write_plan(storage, Paths(SECRET), 2, None) == (3, 2)
    assert (tmp_path / "_plan").stat().st_mode & 0o777 == 0o700
    assert plan.read_block(storage, 0, 2).pictures + plan.read_block(storage, 1, 2).pictures == SECRET  # type: ignore[operator]
    plan.remove_secret_plan(storage)
    assert not (tmp_path / "_plan").exists()


def test_other_plans_stay(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    plan.write_plan(storage, Paths(PLAIN), 2, None)
    plan.remove_secret_plan(storage)
    assert plan.read_block(storage, 0, 2).pictures == PLAIN


def test_rows_have_no_secret() -> None:
    assert [shown_path(path) for path in PLAIN] == PLAIN
    for path in SECRET:
        picture = read_picture(path, "/nowhere")
        assert picture.error is not None and "S3CRET" not in picture.error + shown_path(path)


def test_manifest_has_no_secret(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "out"))
    (tmp_path / "m.onnx").write_bytes(b"model")
    model = job.Model("m", "m.onnx", "0", "onnx", ("cat",))
    options = job.Options(0.5, 0.5, 1, None, 2, None, 1)
    job._begin(storage, SECRET[0], job.source_name(SECRET[0]), None, model, options, {"m.onnx": b"model"})
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*.json")]
    assert len(texts) == 1 and "S3CRET" not in texts[0] and "http://127.0.0.1:1/a.jpg" in texts[0]


@pytest.mark.parametrize("address", ["s3://KEY:S3/CRET@bucket/a.jpg", "s3://KEY:S3CRET@bucket/*.jpg"])
def test_keys_in_the_address_of_a_bucket(address: str) -> None:
    with pytest.raises(InputError, match="keys do not stand in the address") as caught:
        find_pictures(address)
    assert "CRET" not in str(caught.value)
