import pytest

from edgessd.models import create_model
from edgessd.models.receptive_field import receptive_fields


@pytest.mark.parametrize(
    ("name", "options", "fields"),
    [
        # VGG-16, by hand: r += (kernel - 1) * dilation * jump. conv4_3 is 92; conv5_3 196; pool5 3x3 at jump 16
        # 228; fc6 dilated by 6 420; then 420 + 2 * 16, + 2 * 32 cut by the picture's border ...
        ("ssd300_vgg16", {}, [92, 300, 300, 300, 300, 300]),
        ("ssd512_vgg16", {}, [92, 420, 452, 506, 512, 512, 512]),
        # the full VGG-16: conv5_3 196, then pool5 2x2 212 and fc6 7x7 at jump 32: more than the picture
        ("ssd300_vgg16", {"backbone_options": {"atrous": False}}, [92, 196, 300, 300, 300, 300]),
    ],
)
def test_vggs_fields_are_those_of_the_formula(name, options, fields):
    _, spec = create_model(name, classes=("a",), **options)
    assert [level.receptive_field for level in spec.priors.levels] == fields


def test_fields_grow_with_the_level_and_end_with_the_picture():
    model, spec = create_model("ssdlite", backbone="timm:mobilenetv2_035", classes=("a",), size=(384, 320))
    fields = [level.receptive_field for level in spec.priors.levels]
    assert fields == sorted(fields)
    assert fields[0] < 384
    assert fields[-1] == 384
    assert receptive_fields(model, (384, 320)) == fields


def test_measuring_leaves_the_model_as_it_was():
    model, _ = create_model("ssdlite", backbone="timm:mobilenetv2_035", classes=("a",), receptive_fields=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    receptive_fields(model, 320)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all((value == before[key]).all() for key, value in model.state_dict().items())
