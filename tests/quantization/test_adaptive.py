import pytest
import torch

from edgessd.evaluation.distance import distance
from edgessd.models.runtime import TorchRuntime
from edgessd.quantization import load_quantized, quantize, save_quantized
from edgessd.quantization.adaptive import Moments, adaptive
from edgessd.quantization.calibration import calibration_pictures
from edgessd.quantization.rounding import on_grid, symmetric_scale


@pytest.fixture(scope="module")
def layer():
    """Weights, and inputs whose channels go up and down together, as neighbouring channels do."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 32, generator=generator)
    common = torch.randn(4, 500, generator=generator)
    inputs = torch.randn(32, 4, generator=generator) @ common + 0.1 * torch.randn(32, 500, generator=generator)
    return weight, inputs


def test_adaptive_rounding_changes_the_output_less_than_the_nearest(layer):
    weight, inputs = layer
    scale = symmetric_scale(weight)
    found = adaptive(weight[None], scale[None], (inputs @ inputs.T / 500)[None])[0]
    nearest = on_grid(weight, scale, keep_sum=False)
    error, usual = (((each - weight) @ inputs).square().mean() for each in (found, nearest))
    assert error < 0.15 * usual


def test_adaptive_rounding_stays_on_the_grid(layer):
    weight, inputs = layer
    scale = symmetric_scale(weight)
    steps = adaptive(weight[None], scale[None], (inputs @ inputs.T)[None])[0] / scale.unsqueeze(1)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert steps.abs().max() <= 127.001


def test_inputs_that_are_always_zero_are_rounded_to_nearest():
    weight = torch.tensor([[[1.0, 0.3, -0.7]]])
    scale = torch.tensor([[0.25]])
    assert adaptive(weight, scale, torch.zeros(1, 3, 3)).tolist() == [[[1.0, 0.25, -0.75]]]


def test_inputs_that_hardly_vary_have_a_covariance():
    """A ReLU6 that is nearly always full: float32 products of 6 x 6 hid a variance of 1e-6 and made it negative."""
    generator = torch.Generator().manual_seed(0)
    columns = 6 - 1e-3 * torch.rand(1, 9, 4096, generator=generator)
    moments = Moments()
    for part in columns.split(1024, dim=2):
        moments.add(part)
    exact = torch.cov(columns[0].double(), correction=0)
    assert torch.allclose(moments.covariance()[0].double(), exact, atol=1e-10)
    assert torch.allclose(moments.mean(), columns.mean(dim=2))
    rounded = adaptive(torch.rand(1, 1, 9, generator=generator), torch.full((1, 1), 0.1), moments.covariance())
    assert torch.isfinite(rounded).all()


@pytest.fixture(scope="module")
def networks(small, picture_folder):
    pictures = calibration_pictures(picture_folder)
    return {rounding: quantize(*small, pictures, rounding=rounding) for rounding in ("nearest", "adaptive")}


def test_a_whole_network_comes_nearer_to_the_float_one(networks, small, picture_folder):
    paths, reference = sorted(picture_folder.iterdir()), TorchRuntime(small)
    away = {name: distance(TorchRuntime((net.graph, net.spec)), reference, paths) for name, net in networks.items()}
    assert away["adaptive"].logits < 0.8 * away["nearest"].logits
    assert away["adaptive"].offsets < 0.8 * away["nearest"].offsets


def test_adaptive_weights_survive_saving_and_conversion(networks, tmp_path):
    network = networks["adaptive"]
    save_quantized(tmp_path / "int8.safetensors", network)
    loaded = load_quantized(tmp_path / "int8.safetensors")
    assert loaded.recipe.rounding == "adaptive" and loaded.recipe.equalized
    x = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = network.graph(x)
        for other in (loaded.graph, loaded.copied().graph, loaded.converted(batch="dynamic", fold=True)):
            assert all(torch.equal(a, b) for a, b in zip(other(x), expected, strict=True))
