import copy

import pytest
import torch
from torch import nn

from edgessd._torchvision import timm
from edgessd.models.layers import SameConv2d
from edgessd.training import depthwise
from edgessd.training.depthwise import speed_up

Same = timm.layers.Conv2dSame


def gradients(layer, x, y_gradient, autocast):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = layer(x)
    y.backward(y_gradient(y).to(y.dtype))
    return [y, x.grad, *(parameter.grad for parameter in layer.parameters())]


def fixed(y):
    torch.manual_seed(1)
    return torch.randn(y.shape).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def counted(monkeypatch):
    """How often the faster way was taken."""
    calls = []
    pads = depthwise._Faster._bfloat16_pads

    def look(self, x):
        result = pads(self, x)
        calls.append(result is not None)
        return result

    monkeypatch.setattr(depthwise._Faster, "_bfloat16_pads", look)
    return calls


@pytest.mark.parametrize(
    ("kind", "kernel", "stride", "padding", "size"),
    [
        (SameConv2d, 3, 2, 0, (12, 16)),
        (SameConv2d, 3, 2, 0, (13, 12)),
        (SameConv2d, 5, 2, 0, (10, 11)),
        (SameConv2d, 5, 3, 0, (12, 13)),
        (Same, 3, 2, 0, (12, 15)),
        (nn.Conv2d, 3, 2, 1, (12, 15)),
        (nn.Conv2d, 5, 2, 2, (11, 14)),
        (nn.Conv2d, 3, 2, 0, (13, 10)),
        (nn.Conv2d, (3, 5), 2, (1, 2), (9, 9)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_the_plain_convolution(counted, kind, kernel, stride, padding, size, bias):
    torch.manual_seed(0)
    plain = kind(16, 16, kernel, stride, padding, groups=16, bias=bias)
    faster = copy.deepcopy(plain)
    assert speed_up(faster) == 1
    x = torch.randn(2, 16, *size).contiguous(memory_format=torch.channels_last)
    expected = gradients(plain, x, fixed, autocast=False)
    for got, want in zip(gradients(faster, x, fixed, autocast=True), expected, strict=True):
        assert got.shape == want.shape
        assert (got - want).abs().max() < 0.02 * want.abs().max()  # bfloat16 has 8 bits
    assert counted == [True]


def test_float32_and_inference_take_the_old_way(counted):
    layer = SameConv2d(8, 8, 3, 2, groups=8)
    plain = copy.deepcopy(layer)
    speed_up(layer)
    x = torch.randn(1, 8, 10, 10).contiguous(memory_format=torch.channels_last)
    for got, want in zip(gradients(layer, x, fixed, False), gradients(plain, x, fixed, False), strict=True):
        assert torch.equal(got, want)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), plain(x))
    assert counted == [False, False]


def test_other_convolutions_and_names_stay():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 16, 3, 2, 1, groups=8),
        nn.Conv2d(8, 8, 2, 2, groups=8),
        nn.Conv2d(8, 8, 3, 2, 1, groups=8, padding_mode="reflect"),
        SameConv2d(8, 8, 3, 2, groups=8),
    )
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert speed_up(network) == 1
    assert isinstance(network[5], SameConv2d) and type(network[0]) is nn.Conv2d
    assert before.keys() == network.state_dict().keys()
    assert speed_up(network) == 0  # a second time changes nothing


def test_a_map_of_one_cell_has_the_right_gradient():
    """oneDNN reads memory that nobody wrote where a strided depthwise convolution pads a map of one cell."""
    torch.manual_seed(0)
    for channels in (64, 256):
        layer = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels)
        assert speed_up(layer) == 1
        x = torch.randn(4, 1, 1, channels).permute(0, 3, 1, 2)  # channels last, also by its strides
        expected = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
        for _ in range(100):
            junk = [torch.full((size,), torch.nan) for size in (576, 1024, 2304, 4096, 16384, 65536)]
            del junk
            with torch.autocast("cpu", torch.bfloat16):
                loss = layer(x.requires_grad_()).float().square().sum()
            found = torch.autograd.grad(loss, layer.weight)[0]
            assert torch.allclose(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
