"""What every backbone promises, over families of timm: shapes as declared, and the same numbers after export."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgessd.export.onnx import to_onnx
from edgessd.models import create_model

SIZE = 320
FAMILIES = [
    "mobilenetv1_100",
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mobilenetv4_conv_small_035",
    "efficientnet_lite0",
    "lcnet_035",
    "ghostnet_050",
    "resnet10t",
    "repvgg_a0",
    "regnetx_002",
    "convnext_atto",
    "efficientvit_b0",
]
HEAVY = [
    "mobileone_s0",
    "mnasnet_small",
    "tinynet_e",
    "hardcorenas_a",
    "dla46_c",
    "ese_vovnet19b_slim_dw",
    "cs3darknet_focus_s",
    "hgnetv2_b0",
    "starnet_s1",
    "edgenext_xx_small",
    "legacy_xception",
    "xception41",
    "hrnet_w18_small",
    "selecsls42",
    "skresnet18",
    "resnetv2_18",
    "inception_v3",
    "densenet121",
    "repvit_m0_9",
    "mobilevit_xxs",
    "fastvit_t8",
    "pvt_v2_b0",
    "poolformerv2_s12",
    "rexnet_100",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
]


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks gain nothing from a second thread, and one that waits spins."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_plausible_statistics(model: nn.Module) -> nn.Module:
    """Let every norm bring its map to a mean square of one: random weights then yield numbers of that order.

    The statistics of each channel would not do. In a random network all pictures look much the same, and
    dividing by the little in which they differ magnifies the rounding errors that the test is about.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(2, 3, SIZE, SIZE))
        for norm in norms:
            norm.running_var.fill_((norm.running_var + norm.running_mean.square()).mean())
            norm.running_mean.zero_()
    return model.eval()


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)])
def test_ssdlite_on_a_timm_backbone(name):
    # onnxslim is held by tests/export and by the slow cases here; it takes as long as the export itself.
    slim = name in HEAVY
    torch.manual_seed(0)
    model, spec = create_model(
        "ssdlite", backbone=f"timm:{name}", size=SIZE, classes=["a", "b"], receptive_fields=False
    )
    with_plausible_statistics(model)
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        maps = model.backbone(x)
        logits, offsets = model(x)

    assert [level.shape[1] for level in maps] == model.backbone.feature_channels
    for level, stride in zip(maps, model.backbone.feature_strides, strict=True):
        # Networks without padding (inception) have fewer cells.
        assert SIZE // stride * 0.8 <= level.shape[2] <= -(-SIZE // stride)
    assert logits.shape == (1, spec.priors.count, 3)
    assert offsets.shape == (1, spec.priors.count, 4)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    proto = to_onnx(model, spec, batch=1, slim=slim)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    exported = session.run(["logits", "offsets"], {"image": x.numpy()})
    for ours, theirs in zip((logits, offsets), exported, strict=True):
        largest = float(ours.abs().max())
        assert 0.01 < largest < 100  # else the comparison would say nothing
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-4 * max(1.0, largest))
