import json
import stat

import pytest
import torch
from safetensors.torch import save_file

from edgessd.errors import ModelError, SpecError
from edgessd.model_file import read_spec
from edgessd.models import create_model, load_checkpoint, save_checkpoint
from edgessd.spec import METADATA_KEY


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    return create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", size=160, classes=("a", "b"), receptive_fields=False
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory, pair):
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, *pair)
    return path


def test_a_checkpoint_gives_back_what_was_saved(saved, pair):
    model, spec = load_checkpoint(saved)
    assert spec == pair[1] == read_spec(saved)
    assert not model.training
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        expected, result = pair[0].eval()(x), model(x)
    assert torch.equal(result[0], expected[0])
    assert torch.equal(result[1], expected[1])


def test_nothing_but_the_file_is_left_and_others_may_read_it(saved):
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert stat.S_IMODE(saved.stat().st_mode) & 0o400


def test_a_failed_save_leaves_the_old_file(tmp_path, pair, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        path.with_name("half").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgessd.models.checkpoint.save_file", fail)
    with pytest.raises(ModelError, match="No space left on device"):
        save_checkpoint(path, *pair)
    assert path.read_bytes() == b"old"


def test_a_folder_that_does_not_exist(tmp_path, pair):
    with pytest.raises(ModelError, match="cannot write the checkpoint") as caught:
        save_checkpoint(tmp_path / "nowhere" / "model.safetensors", *pair)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1, -1000])
def test_truncated_files_are_refused(tmp_path, saved, kept):
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ModelError, match="not a whole safetensors file") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"text, not tensors", b"\x80\x04\x95", b"\x08\x08\x12\x07pytorch"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load_checkpoint(path)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(ModelError, match="no such checkpoint"):
            load_checkpoint(path)


def with_spec(path, model, text):
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, metadata=None if text is None else {METADATA_KEY: text})
    return path


def changed(spec, **fields):
    return json.dumps(json.loads(spec.to_json()) | fields)


def test_files_without_a_readable_spec_are_refused(tmp_path, pair):
    model, spec = pair
    for text, message in (
        (None, "is not a checkpoint of edgessd"),
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        (changed(spec, schema=99), "schema 99"),
        (changed(spec, more=1), "unknown field"),
        (changed(spec, architecture=None), "has no architecture"),
    ):
        with pytest.raises(SpecError, match=message) as caught:
            load_checkpoint(with_spec(tmp_path / "model.safetensors", model, text))
        assert "\n" not in str(caught.value)


def test_weights_of_another_number_of_classes_are_refused(tmp_path, pair):
    model, spec = pair
    path = with_spec(tmp_path / "model.safetensors", model, changed(spec, classes=["a", "b", "c"]))
    with pytest.raises(ModelError, match="of another shape"):
        load_checkpoint(path)
