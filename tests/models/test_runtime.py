import msgspec
import numpy as np
import pytest
import torch

from edgessd.errors import EngineError, ModelError, OptionError, SpecError
from edgessd.models import create_model, save_checkpoint
from edgessd.models.runtime import TorchRuntime
from edgessd.quantization.runtime import load_network
from edgessd.runtimes import load_runtime


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    model, spec = create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", size=160, classes=("a", "b"), receptive_fields=False
    )
    return model.eval(), spec


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, pair):
    path = tmp_path_factory.mktemp("runtime") / "model.safetensors"
    save_checkpoint(path, *pair)
    return path


@pytest.mark.parametrize("batch", [1, 3])
def test_a_checkpoint_runs(checkpoint, pair, rng, batch):
    runtime = load_runtime(checkpoint, providers="cpu")
    x = rng.normal(size=(batch, 3, 160, 160)).astype(np.float32)
    outputs = runtime.run(x)
    with torch.no_grad():
        logits, offsets = pair[0](torch.from_numpy(x))
    assert (outputs.logits.dtype, outputs.offsets.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(outputs.logits, logits.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs.offsets, offsets.numpy(), rtol=0, atol=1e-6)
    assert (runtime.name, runtime.spec, runtime.thread_safe) == ("torch", pair[1], True)


def test_a_network_in_training_is_run_in_evaluation(pair):
    model, spec = pair
    runtime = TorchRuntime((model.train(), spec), device="cpu")
    before = model.state_dict()["backbone.stem.1.running_mean"].clone()
    runtime.run(np.ones((1, 3, 160, 160), np.float32))
    assert torch.equal(model.state_dict()["backbone.stem.1.running_mean"], before)


def test_arrays_that_are_not_contiguous_or_not_writable_are_taken(pair):
    x = np.ones((160, 160, 3), np.float32)
    x.setflags(write=False)
    runtime = TorchRuntime(pair, device="cpu")
    assert runtime.run(x.transpose(2, 0, 1)[None]).offsets.shape == (1, pair[1].priors.count, 4)
    assert runtime.run(np.broadcast_to(np.float32(1), (1, 3, 160, 160))).offsets.shape[0] == 1


def test_it_is_found_by_the_files_content(tmp_path, checkpoint):
    renamed = tmp_path / "model.bin"
    renamed.write_bytes(checkpoint.read_bytes())
    assert load_runtime(renamed).name == "torch"


def test_a_provider_is_a_device_and_half_precision(checkpoint, rng):
    x = rng.normal(size=(1, 3, 160, 160)).astype(np.float32)
    full = load_runtime(checkpoint, providers="cpu").run(x)
    runtime = load_runtime(checkpoint, providers=["cpu-fp16"])
    half = runtime.run(x)
    assert runtime.name == "torch (cpu-fp16)"
    assert half.logits.dtype == np.float32
    assert 0 < np.abs(half.logits - full.logits).max() < 0.05 * np.abs(full.logits).max()
    for providers in (["cpu", "cuda"], ["cpu-int8"], ["tensorrt"]):
        with pytest.raises(OptionError, match=r"torch has no|one device"):
            load_runtime(checkpoint, providers=providers)


def test_a_closed_runtime_does_not_run(pair):
    runtime = TorchRuntime(pair, device="cpu")
    runtime.close()
    runtime.close()
    with pytest.raises(EngineError, match="closed"):
        runtime.run(np.zeros((1, 3, 160, 160), np.float32))


def test_threads_are_torchs(pair):
    before = torch.get_num_threads()
    try:
        TorchRuntime(pair, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "no device 'tpu' on this machine: use 'cpu'"),
        ({"device": "cuda:97"}, "no device 'cuda:97'"),
        ({"device": ""}, "no device ''"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_devices_and_threads_that_do_not_exist(pair, options, message):
    with pytest.raises(OptionError) as caught:
        TorchRuntime(pair, **options)
    assert message in str(caught.value)


def test_a_spec_for_another_kind_of_input_is_refused(pair):
    model, spec = pair
    other = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, layout="NHWC"))
    with pytest.raises(SpecError, match="float32 in NCHW order"):
        TorchRuntime((model, other), device="cpu")


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError):
        load_network(tmp_path / "model.safetensors")
