import pytest
import torch

from edgessd._torchvision import timm
from edgessd.backbones import create_backbone
from edgessd.errors import ModelError, OptionError


@pytest.mark.parametrize(
    ("name", "options", "channels", "strides"),
    [
        ("mobilenetv2_100", {}, [32, 96, 320], [8, 16, 32]),
        ("mobilenetv2_100", {"out_strides": (16,)}, [96], [16]),
        ("mobilenetv2_100", {"min_stride": 16}, [96, 320], [16, 32]),
        # TensorFlow's SSDLite: the expansion of block 13, and conv_1 of 1280 channels.
        ("mobilenetv2_100", {"min_stride": 16, "tap": "expansion", "include_head": True}, [576, 1280], [16, 32]),
        ("mobilenetv3_small_100", {"min_stride": 16, "tap": "expansion"}, [288, 576], [16, 32]),
        ("mobilenetv4_conv_small_050", {"min_stride": 16, "tap": "expansion"}, [288, 480], [16, 32]),
        ("mobilenetv2_100", {"output_stride": 16}, [32, 320], [8, 16]),
        ("resnet18", {"output_stride": 8}, [512], [8]),
        ("resnet18", {"out_strides": (4, 8)}, [64, 128], [4, 8]),
        # Four maps instead of timm's usual five; NHWC inside; one stride only.
        ("convnext_atto", {}, [80, 160, 320], [8, 16, 32]),
        ("swin_tiny_patch4_window7_224", {}, [192, 384, 768], [8, 16, 32]),
        ("vit_tiny_patch16_224", {"min_stride": 32}, [192], [16]),
        # timm itself would use forward hooks here, which cannot be exported.
        ("legacy_xception", {"out_strides": (16,)}, [728], [16]),
    ],
)
def test_channels_and_strides_are_those_of_the_maps(name, options, channels, strides):
    backbone = create_backbone(f"timm:{name}", **options).eval()
    assert (backbone.feature_channels, backbone.feature_strides) == (channels, strides)
    side = 224
    with torch.no_grad():
        maps = backbone.to("meta")(torch.zeros(1, 3, side, side, device="meta"))
    assert [(level.shape[1], level.shape[2]) for level in maps] == [
        (count, side // stride) for count, stride in zip(channels, strides, strict=True)
    ]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"pad_type": "same"}, "timm:resnet18 has no option 'pad_type'"),
        ("resnet18", {"pad_type": "valid"}, "pad_type is '' or 'same'"),
        ("resnet18", {"output_stride": 4}, "output_stride is 8, 16 or 32"),
        ("resnet18", {"out_strides": (64,)}, "has no map of stride 64: its strides are 2, 4, 8, 16, 32"),
        ("resnet18", {"out_strides": (16, 8)}, "out_strides must rise"),
        ("resnet18", {"tap": "expansion"}, "has no inverted residual blocks"),
        ("resnet18", {"include_head": True}, "has no conv_head"),
        ("mobilenetv2_100", {"tap": "middle"}, "tap is one of bottleneck, expansion"),
        ("mobilenetv2_100", {"tap": "expansion", "out_strides": (32,)}, "has no block expansion to tap"),
        ("vit_small_patch14_dinov2", {}, "has no map of stride 8, 16 or 32: its strides are 14"),
    ],
)
def test_what_a_model_does_not_have_is_refused(name, options, message):
    with pytest.raises(OptionError) as caught:
        create_backbone(f"timm:{name}", **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_normalization_is_what_the_weights_were_trained_with():
    inception = create_backbone("timm:mobilenetv3_large_100.miil_in21k", out_strides=(16,)).normalization
    assert (inception.mean, inception.scale) == ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    imagenet = create_backbone("timm:resnet18", out_strides=(8,)).normalization
    assert imagenet.mean == pytest.approx((123.675, 116.28, 103.53))
    assert imagenet.scale == pytest.approx((58.395, 57.12, 57.375))


def test_same_padding_puts_the_odd_pixel_at_the_bottom_and_right():
    backbone = create_backbone("timm:mobilenetv2_035", pad_type="same", out_strides=(16,)).eval()
    stem = backbone.stem[0]
    x = torch.randn(1, 3, 64, 64)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1))
    torch.testing.assert_close(stem(x), torch.nn.functional.conv2d(padded, stem.weight, stride=2))


def test_the_tap_is_the_input_of_the_depthwise_convolution():
    backbone = create_backbone("timm:mobilenetv2_035", min_stride=16, tap="expansion").eval()
    seen = []
    backbone.blocks[5][0].conv_dw.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = backbone(x)
        plain = create_backbone("timm:mobilenetv2_035", min_stride=16).eval()
        plain.load_state_dict(backbone.state_dict())
        bottleneck = plain(x)
    torch.testing.assert_close(maps[0], seen[0])
    torch.testing.assert_close(maps[1], bottleneck[1])  # what comes behind the tap is the same network


@pytest.mark.parametrize(
    ("name", "options", "index"),
    [
        ("mobilenetv2_035", {"include_head": True}, None),
        ("mobilenetv3_small_050", {"out_strides": (16,)}, -2),
        ("mobilenetv4_conv_small_035", {}, -1),
        ("resnet10t", {}, -1),
        ("convnext_atto", {}, -1),
        ("ghostnet_050", {}, -1),
        ("vit_tiny_patch16_224", {}, -1),
    ],
)
def test_a_classifiers_weights_find_their_place(name, options, index):
    torch.manual_seed(0)
    classifier = timm.create_model(name, pretrained=False).eval()
    backbone = create_backbone(f"timm:{name}", **options).eval()
    backbone.load_state_dict(backbone.from_classifier(classifier.state_dict()))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        last = backbone(x)[-1]
        if index is None:
            expected = classifier.forward_features(x)  # in timm's mobilenetv2 this holds conv_head
        else:
            expected = classifier.forward_intermediates(x, indices=[index], intermediates_only=True)[0]
    torch.testing.assert_close(last, expected, rtol=1e-5, atol=1e-6)


def test_a_classifiers_weights_find_their_place_in_a_traced_network():
    with torch.device("meta"):
        backbone = create_backbone("timm:legacy_xception", out_strides=(8,))
        state = timm.create_model("legacy_xception", pretrained=False).state_dict()
    assert set(backbone.from_classifier(state)) == set(backbone.state_dict())


def test_weights_of_another_network_are_refused():
    backbone = create_backbone("timm:resnet10t")
    with pytest.raises(ModelError, match=r"1 unexpected \(such as nothing.weight\)"):
        backbone.from_classifier({"nothing.weight": torch.zeros(1)})
    assert not any(key.endswith(".weight") for key in backbone.from_classifier({}))
