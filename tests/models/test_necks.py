import pytest
import torch
import torch.nn.functional as F

from edgessd.errors import OptionError
from edgessd.models import create_model, load_checkpoint
from edgessd.models.checkpoint import save_checkpoint
from edgessd.models.necks import TopDown


def test_the_finest_level_is_the_sum_of_both_maps():
    torch.manual_seed(0)
    neck = TopDown((4, 6), 5).eval()
    fine, coarse = torch.randn(2, 4, 7, 10), torch.randn(2, 6, 4, 5)
    lateral, top = (
        part.norm(F.conv2d(x, part.conv.weight)).clamp(0, 6) for part, x in ((neck.lateral, fine), (neck.top, coarse))
    )
    wanted = torch.stack([lateral[:, :, y, x] + top[:, :, y // 2, x // 2] for y in range(7) for x in range(10)], dim=2)
    assert torch.allclose(neck(fine, coarse).flatten(2), wanted)


def test_a_network_with_a_finer_level_survives_its_checkpoint(tmp_path):
    options = {"backbone": "timm:mobilenetv2_035", "size": 160, "classes": ("a",)}
    model, spec = create_model("ssdlite", top_down=24, **options)
    plain = create_model("ssdlite", **options)[1]
    assert [level.rows for level in spec.priors.levels][:2] == [20, 10]
    assert plain.priors.levels[0].rows == 10
    # The finest level sees what the next one sees.
    assert spec.priors.levels[0].receptive_field >= spec.priors.levels[1].receptive_field
    save_checkpoint(tmp_path / "model.safetensors", model, spec)
    again, told = load_checkpoint(tmp_path / "model.safetensors")
    assert told == spec and spec.architecture.top_down == 24
    x = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model.eval()(x), again.eval()(x), strict=True))


def test_one_map_has_nothing_to_look_down_from():
    with pytest.raises(OptionError, match="needs two"):
        create_model(
            "ssdlite", backbone="timm:mobilenetv2_035", backbone_options={"out_strides": (16,)}, size=160, top_down=24
        )
