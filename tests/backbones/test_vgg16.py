import pytest
import torch

from edgessd.backbones import create_backbone
from edgessd.backbones.vgg16 import L2Norm, imagenet_state
from edgessd.errors import ModelError


@pytest.fixture(scope="module")
def classifier():
    """Names and shapes of torchvision's vgg16, each weight filled with numbers that tell it apart."""
    shapes, inputs, index = {}, 3, 0
    for stage in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for width in stage:
            shapes |= {f"features.{index}.weight": (width, inputs, 3, 3), f"features.{index}.bias": (width,)}
            inputs, index = width, index + 2
        index += 1
    shapes |= {"classifier.0.weight": (4096, 25088), "classifier.0.bias": (4096,)}
    shapes |= {"classifier.3.weight": (4096, 4096), "classifier.3.bias": (4096,)}
    shapes |= {"classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,)}
    return {key: torch.full(shape, float(k)) for k, (key, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize(
    ("options", "size", "channels", "strides", "sides"),
    [
        # The paper's figure 2: conv4_3 38x38x512, fc7 19x19x1024.
        ({}, 300, [512, 1024], [8, 16], [38, 19]),
        ({}, 512, [512, 1024], [8, 16], [64, 32]),
        # Section 3.2, the full VGG-16: conv4_3, conv5_3 and fc7 behind a 2x2 pool5 with stride 2.
        ({"atrous": False}, 300, [512, 512, 4096], [8, 16, 32], [38, 19, 10]),
    ],
)
def test_maps_have_the_papers_sizes(options, size, channels, strides, sides):
    backbone = create_backbone("vgg16", **options).to("meta")
    assert (backbone.feature_channels, backbone.feature_strides) == (channels, strides)
    maps = backbone(torch.zeros(2, 3, size, size, device="meta"))
    assert [tuple(level.shape) for level in maps] == [(2, c, s, s) for c, s in zip(channels, sides, strict=True)]


def test_fc6_is_dilated_and_pool5_keeps_the_size():
    backbone = create_backbone("vgg16")
    pool5, fc6, _, fc7, _ = backbone.fc
    assert (pool5.kernel_size, pool5.stride, pool5.padding) == (3, 1, 1)
    assert (fc6.kernel_size, fc6.dilation, fc6.padding) == ((3, 3), (6, 6), (6, 6))
    assert fc7.kernel_size == (1, 1)


def test_l2norm_gives_every_cell_the_length_of_its_scale():
    layer = L2Norm(512)
    assert torch.equal(layer.scale, torch.full((512,), 20.0))  # "conv4_3 ... scale the feature norm to 20"
    x = torch.randn(2, 512, 3, 4)
    torch.testing.assert_close(layer(x).norm(dim=1), torch.full((2, 3, 4), 20.0))
    assert torch.equal(layer(torch.zeros(1, 512, 1, 1)), torch.zeros(1, 512, 1, 1))


def test_the_classifier_is_subsampled_into_fc6_and_fc7(classifier):
    grid = torch.arange(4096 * 512 * 49, dtype=torch.float64).reshape(4096, 512, 7, 7)
    plane = torch.arange(4096 * 4096, dtype=torch.float64).reshape(4096, 4096)
    weights = classifier | {"classifier.0.weight": grid.reshape(4096, -1), "classifier.3.weight": plane}
    state = imagenet_state(weights)
    assert state["fc.1.weight"].shape == (1024, 512, 3, 3)
    # Output 4, input 5, kernel row 3, column 6 of the 7x7 kernel is output 1, input 5, row 1, column 2.
    assert state["fc.1.weight"][1, 5, 1, 2] == grid[4, 5, 3, 6]
    assert state["fc.3.weight"].shape == (1024, 1024, 1, 1)
    assert state["fc.3.weight"][2, 3, 0, 0] == plane[8, 12]


@pytest.mark.parametrize("atrous", [True, False])
def test_the_converted_classifier_fits_but_for_the_norm(classifier, atrous):
    backbone = create_backbone("vgg16", atrous=atrous)
    result = backbone.load_state_dict(imagenet_state(classifier, atrous), strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["norm4.scale"], [])
    convolutions = [layer for layer in (*backbone.conv4, *backbone.conv5) if hasattr(layer, "weight")]
    # The 13 convolutions come in the order of `features`: each weight is followed by its bias.
    assert [float(layer.weight.detach().mean()) for layer in convolutions] == [2.0 * k for k in range(13)]


@pytest.mark.parametrize("missing", ["features.0.weight", "features.28.bias", "classifier.3.weight"])
def test_a_state_without_a_layer_is_refused(classifier, missing):
    with pytest.raises(ModelError, match=missing):
        imagenet_state({key: value for key, value in classifier.items() if key != missing})
