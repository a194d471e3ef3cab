import pytest
import torch
from torch import Tensor, nn

from edgessd.backbones import Backbone, Normalization, create_backbone, list_backbones, register_backbone, registry
from edgessd.errors import OptionError


class Tiny(Backbone):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 16, stride=16)
        self.feature_channels, self.feature_strides = [width], [16]
        self.normalization = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.conv(x)]


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    return register_backbone("tiny")(Tiny)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "unknown backbone ''"),
        ("vgg61", "did you mean 'vgg16'"),
        ("timm:", "unknown backbone 'timm:'"),
        ("timm:mobilenetv2_10", "'timm:mobilenetv2_100'"),
        ("timm:resnet18\n", "did you mean 'timm:resnet18'"),
        ("torchvision:mobilenet_v3_larg", "did you mean 'torchvision:mobilenet_v3_large'"),
        ("mobilenetv2_100", "did you mean 'timm:mobilenetv2_100'"),
        ("nowhere:vgg16", "unknown backbone 'nowhere:vgg16'"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, message):
    with pytest.raises(OptionError, match="unknown backbone") as caught:
        create_backbone(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("vgg16", {"atros": True}, "no option 'atros' (did you mean 'atrous'?): it has atrous"),
        ("timm:resnet18", {"padtype": "same"}, "no option 'padtype' (did you mean 'pad_type'?)"),
        ("torchvision:mobilenet_v3_large", {"name": "x"}, "no option 'name'"),
    ],
)
def test_unknown_options_are_answered_with_the_known_ones(name, option, message):
    with pytest.raises(OptionError) as caught:
        create_backbone(name, **option)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "some", "none"),
    [
        ("", [], ["vgg16"]),
        ("vgg16", ["vgg16"], ["timm:vgg16"]),
        ("timm:mobilenetv[23]_100", ["timm:mobilenetv2_100"], ["vgg16"]),
        ("torchvision:*", ["torchvision:mobilenet_v3_large"], ["vgg16"]),
    ],
)
def test_backbones_are_listed_by_pattern(pattern, some, none):
    names = list_backbones(pattern)
    assert set(some) <= set(names)
    assert not set(none) & set(names)
    assert names == sorted(names)


def test_all_families_are_listed():
    names = list_backbones()
    assert {"vgg16", "torchvision:mobilenet_v3_large", "timm:convnext_atto"} <= set(names)
    assert len(names) > 900  # timm 1.0 alone has more than a thousand


def test_own_backbones_are_created_by_name_and_option(tiny):
    backbone = create_backbone("tiny", width=6)
    assert isinstance(backbone, tiny)
    assert backbone(torch.zeros(1, 3, 32, 48))[0].shape == (1, 6, 2, 3)
    assert "tiny" in list_backbones("t*")


@pytest.mark.parametrize(("name", "message"), [("vgg16", "exists already"), ("timm:mine", "must not hold a colon")])
def test_names_that_are_taken_cannot_be_registered(tiny, name, message):
    with pytest.raises(OptionError, match=message):
        register_backbone(name)(Tiny)
