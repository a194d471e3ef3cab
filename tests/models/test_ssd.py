import msgspec
import numpy as np
import pytest
import torch

from edgessd.errors import OptionError, SpecError
from edgessd.models import build_ssd, create_model
from edgessd.models.heads import Head
from edgessd.models.layers import SameConv2d
from edgessd.ops.priors import explicit_priors
from edgessd.spec import ArchitectureSpec


@pytest.fixture(scope="module")
def small():
    return create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", size=160, classes=("a", "b"), receptive_fields=False
    )


@pytest.mark.parametrize("kind", ["ssd", "ssdlite"])
def test_rows_are_ordered_level_row_column_prior(kind):
    """The i-th row must belong to the i-th prior: every prediction layer is made to return what it stands for."""
    columns, channels, boxes, sides = 3, [1, 1], [2, 3], [(2, 3), (1, 2)]
    head = Head(kind, channels, boxes, columns).eval()
    predictions = []
    for layers, width in ((head.logits, columns), (head.offsets, 4)):
        for level, layer in enumerate(layers):
            last = layer if kind == "ssd" else layer[1]
            with torch.no_grad():
                last.bias.copy_(torch.arange(boxes[level] * width))
                last.weight.zero_()
                last.weight[:, :, last.kernel_size[0] // 2, last.kernel_size[1] // 2] = 1
                if kind == "ssdlite":  # pass the map through the depthwise layer
                    layer[0].conv.weight.zero_()[:, :, 1, 1] = 1
                    layer[0].norm.weight.fill_((1 + layer[0].norm.eps) ** 0.5)
                    layer[0].act = torch.nn.Identity()
    maps = [torch.arange(h * w).reshape(1, 1, h, w) * 100.0 + 1000 * k for k, (h, w) in enumerate(sides)]
    for width in (columns, 4):
        rows = [
            [1000 * level + 100 * cell + prior * width + value for value in range(width)]
            for level, (height, wide) in enumerate(sides)
            for cell in range(height * wide)
            for prior in range(boxes[level])
        ]
        predictions.append(rows)
    with torch.no_grad():
        logits, offsets = head([level.repeat(2, 1, 1, 1) for level in maps])
    assert logits.shape == (2, 18, columns)
    for result, rows in ((logits, predictions[0]), (offsets, predictions[1])):
        np.testing.assert_allclose(result[1].numpy(), np.array(rows, np.float32), rtol=1e-5)


def test_the_network_is_a_function_of_each_picture_alone(small):
    model = small[0].eval()
    x = torch.randn(3, 3, 160, 160)
    with torch.no_grad():
        together, alone = model(x)[0], model(x[1:2])[0]
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-6)


def test_it_trains(small):
    model = small[0].train()
    logits, offsets = model(torch.randn(2, 3, 160, 160))
    (logits.square().mean() + offsets.square().mean()).backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert silent == []


def replaced(spec, **parts):
    return msgspec.structs.replace(spec, **parts)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: replaced(s, architecture=None), SpecError, "has no architecture"),
        (
            lambda s: replaced(s, input=replaced(s.input, width=192)),
            SpecError,
            "level 1 of 'ssdlite_timm:mobilenetv3_small_050' has a map of 10x12 cells at input 160x192, "
            "the spec's priors are for 10x10",
        ),
        (
            lambda s: replaced(s, priors=replaced(s.priors, levels=s.priors.levels[:-1])),
            OptionError,
            "with 3 extra layers has 5 levels, the priors are for 4",
        ),
        (
            lambda s: replaced(s, priors=explicit_priors([(10, 10), (5, 5), (3, 3), (2, 2), (2, 1)], [[(1, 1)]] * 5)),
            SpecError,
            "level 5",
        ),
        (
            lambda s: replaced(s, architecture=ArchitectureSpec(backbone="vgg61", head="ssd")),
            OptionError,
            "unknown backbone 'vgg61'",
        ),
    ],
)
def test_a_spec_that_does_not_fit_the_network_is_refused(small, change, error, message):
    with pytest.raises(error) as caught:
        build_ssd(change(small[1]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        # TensorFlow's SAME: ceil(size / stride) cells, the odd pixel behind.
        (1, 3, 2, (1, 1)),
        (5, 3, 2, (1, 1)),
        (10, 3, 2, (0, 1)),
        (10, 5, 2, (1, 2)),
        (10, 3, 1, (1, 1)),
        (10, 1, 2, (0, 0)),
    ],
)
def test_same_padding(size, kernel, stride, pads):
    layer = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(1, 2, size, size + 2 * stride)
    padded = torch.nn.functional.pad(x, pads * 2)
    expected = torch.nn.functional.conv2d(padded, layer.weight, layer.bias, stride)
    assert layer(x).shape[2] == -(-size // stride)
    torch.testing.assert_close(layer(x), expected)
