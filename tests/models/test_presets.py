import pytest
import torch

from edgessd.errors import OptionError
from edgessd.models import PRESETS, create_model
from edgessd.models.presets import extra_layers

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "options", "maps", "boxes", "priors"),
    [
        # 8,732 and 24,564: the paper. 3,234 and 1,917: torchvision's and TensorFlow's SSDLite.
        ("ssd300_vgg16", {}, [38, 19, 10, 5, 3, 1], [4, 6, 6, 6, 4, 4], 8732),
        ("ssd300_vgg16", {"backbone_options": {"atrous": False}}, [38, 19, 10, 5, 3, 1], [4, 6, 6, 6, 4, 4], 8732),
        ("ssd512_vgg16", {}, [64, 32, 16, 8, 4, 2, 1], [4, 6, 6, 6, 6, 4, 4], 24564),
        ("ssdlite320_mobilenet_v3_large", {}, [20, 10, 5, 3, 2, 1], [6] * 6, 3234),
        ("ssdlite300_mobilenet_v2", {}, [19, 10, 5, 3, 2, 1], [3, 6, 6, 6, 6, 6], 1917),
        ("ssd", {"backbone": "timm:resnet10t"}, [38, 19, 10, 5, 3, 1], [4, 6, 6, 6, 4, 4], 8732),
        ("ssd", {"backbone": "timm:resnet10t", "size": 160}, [20, 10, 5, 3, 1], [4, 6, 6, 4, 4], 2390),
        ("ssd", {"backbone": "vgg16", "size": 400}, [50, 25, 13, 7, 4, 2], [4, 6, 6, 6, 4, 4], 15138),
        ("ssdlite", {"backbone": "timm:mobilenetv3_small_050"}, [20, 10, 5, 3, 2, 1], [3, 6, 6, 6, 6, 6], 2034),
        ("ssdlite", {"backbone": "timm:mobilenetv3_small_050", "size": 160}, [10, 5, 3, 2, 1], [3, 6, 6, 6, 6], 534),
        ("ssdlite", {"backbone": "timm:vit_tiny_patch16_224", "size": 224}, [14, 7, 4, 2, 1], [3, 6, 6, 6, 6], 1008),
    ],
)
def test_levels_and_priors(name, options, maps, boxes, priors):
    model, spec = create_model(name, classes=CLASSES, receptive_fields=False, **options)
    levels = spec.priors.levels
    assert [(level.rows, level.columns) for level in levels] == [(side, side) for side in maps]
    assert [len(level.boxes) for level in levels] == boxes
    assert spec.priors.count == priors
    with torch.no_grad():
        x = torch.zeros(1, 3, spec.input.height, spec.input.width, device="meta")
        logits, offsets = model.eval().to("meta")(x)
    assert logits.shape == (1, priors, spec.num_logits)
    assert offsets.shape == (1, priors, 4)


def test_a_wide_picture():
    _, spec = create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", size=(640, 384), classes=CLASSES, receptive_fields=False
    )
    assert (spec.input.width, spec.input.height) == (640, 384)
    # Seven levels from 512 pixels on.
    assert [(level.rows, level.columns) for level in spec.priors.levels] == [
        (24, 40), (12, 20), (6, 10), (3, 5), (2, 3), (1, 2), (1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "unknown model ''"),
        ("ssd300_vgg", {}, "did you mean 'ssd300_vgg16'"),
        ("ssd", {}, "'ssd' needs a backbone"),
        ("ssd", {"backbone": "timm:resnet1"}, "unknown backbone"),
        ("ssdlite", {"backbone": "timm:resnet10t", "size": 159}, "160 to 8192 pixels, not 159x159"),
        ("ssdlite", {"backbone": "timm:resnet10t", "size": (320, 9000)}, "not 320x9000"),
        ("ssd300_vgg16", {"size": 320}, "use 'ssd' with backbone 'vgg16' for other sizes"),
        ("ssd300_vgg16", {"backbone": "timm:resnet10t"}, "use 'ssd' for others"),
        ("ssd300_vgg16", {"backbone_options": {"atros": 1}}, "did you mean 'atrous'"),
        ("ssdlite300_mobilenet_v2", {"scores": "softplus"}, "'softmax' or 'sigmoid'"),
        ("ssdlite300_mobilenet_v2", {"classes": ("a", "a")}, "class names must differ"),
        ("ssdlite300_mobilenet_v2", {"classes": ()}, "at least one class"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, options, message):
    with pytest.raises(OptionError) as caught:
        create_model(name, **{"classes": CLASSES, "receptive_fields": False, **options})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "scores", "mean", "scale", "limits"),
    [
        # torchvision's defaults; TensorFlow's ssdlite_mobilenet_v2_coco.config; Caffe's ssd_pascal.py.
        ("ssd300_vgg16", "softmax", (122.99925, 116.9991, 103.9992), 1.0, (0.01, 0.45, 200, 400)),
        ("ssd512_vgg16", "softmax", (122.99925, 116.9991, 103.9992), 1.0, (0.01, 0.45, 200, 400)),
        ("ssdlite320_mobilenet_v3_large", "softmax", (127.5,) * 3, 127.5, (0.001, 0.55, 300, 300)),
        ("ssdlite300_mobilenet_v2", "sigmoid", (127.5,) * 3, 127.5, (0.3, 0.6, 100, 100)),
    ],
)
def test_published_settings(name, scores, mean, scale, limits):
    _, spec = create_model(name, classes=CLASSES, receptive_fields=False)
    assert spec.scores == scores
    assert spec.input.mean == pytest.approx(mean)
    assert spec.input.scale == (scale,) * 3
    defaults = spec.defaults
    assert limits == (
        defaults.score_threshold, defaults.iou_threshold, defaults.max_detections, defaults.max_candidates,
    )  # fmt: skip
    assert (spec.coder.center_variance, spec.coder.size_variance) == (0.1, 0.2)


def test_the_spec_survives_its_json():
    for name in PRESETS:
        backbone = "timm:mobilenetv3_small_050" if name in ("ssd", "ssdlite") else None
        _, spec = create_model(name, classes=CLASSES, backbone=backbone, receptive_fields=False)
        assert type(spec).from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("head", "maps", "side", "shapes"),
    [
        ("ssd", [(1, 1)], 300, []),
        ("ssd", [(38, 38), (19, 19), (10, 10)], 300, [(3, 2, 1), (3, 2, 1), (3, 1, 0)]),
        ("ssdlite", [(19, 19), (10, 10)], 300, [(3, 2, 1)] * 4),
        ("ssd", [(6, 10)], 320, [(3, 2, 1)] * 4),
    ],
)
def test_extra_layers_go_on_to_a_single_cell(head, maps, side, shapes):
    layers = extra_layers(head, maps, side)
    assert [(layer.kernel, layer.stride, layer.padding) for layer in layers] == shapes
