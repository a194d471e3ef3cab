import pytest
import torch
from torch import Tensor, nn

from edgessd._torchvision import timm
from edgessd.backbones import create_backbone
from edgessd.models import create_model
from edgessd.models.fold import fold_batch_norm


def norms(model: nn.Module) -> int:
    return sum("BatchNorm" in type(module).__name__ for module in model.modules())


def randomize(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.5, generator=generator)
    return model.eval()


class Shared(nn.Module):
    """The convolution's output goes to the norm and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


class Twice(nn.Module):
    """One convolution, two norms in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


class Standardized(nn.Module):
    """The convolution makes its weights anew in every run, so nothing can be put into them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = timm.layers.StdConv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def activated() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), timm.layers.BatchNormAct2d(4, act_layer=nn.ReLU6))


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), 0),
        (lambda: nn.Sequential(nn.BatchNorm2d(3)), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)), 0),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), 1),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), 1),
        (activated, 0),
        (Shared, 1),
        (Twice, 2),
        (Standardized, 1),
    ],
)
def test_the_folded_network_is_the_same_function(make, left):
    torch.manual_seed(0)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine and module.track_running_stats:
            randomize(module)
    model.eval()
    x = torch.randn(2, 3, 9, 9)
    folded = fold_batch_norm(model, x)
    assert norms(folded) == left
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mobileone_s0", "resnetv2_18", "ghostnet_050"])
def test_backbones_keep_their_maps(name):
    torch.manual_seed(0)
    backbone = randomize(create_backbone(f"timm:{name}", out_strides=(16,)))
    x = torch.randn(1, 3, 64, 64)
    folded = fold_batch_norm(backbone, x)
    assert norms(folded) < norms(backbone)
    with torch.no_grad():
        expected, result = backbone(x)[0], folded(x)[0]
    assert float((result - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_no_norm_is_left_in_ssdlite_and_the_original_is_not_touched():
    model, _ = create_model("ssdlite300_mobilenet_v2", classes=("a",), receptive_fields=False)
    randomize(model).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold_batch_norm(model, torch.zeros(1, 3, 300, 300))
    assert norms(folded) == 0
    assert not folded.training
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    x = torch.randn(1, 3, 300, 300)
    with torch.no_grad():
        for result, expected in zip(folded(x), model.eval()(x), strict=True):
            assert float((result - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
