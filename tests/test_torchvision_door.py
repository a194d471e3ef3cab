"""`edgessd._torchvision`: torchvision works whether or not its compiled operators load."""

import numpy as np
import pytest
import torch

from edgessd import _torchvision
from edgessd.ops.nms import class_wise_nms


@pytest.mark.parametrize("count", [0, 1, 2, 200])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_nms_in_plain_torch_keeps_what_ours_keeps(rng, count, threshold):
    low = rng.uniform(0, 80, (count, 2)).astype(np.float32)
    boxes = np.concatenate([low, low + rng.uniform(5, 40, (count, 2)).astype(np.float32)], axis=1)
    scores = rng.permutation(count).astype(np.float32)
    kept = _torchvision._nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).numpy()
    order = np.argsort(-scores)
    ours = class_wise_nms(boxes[order], np.zeros(count, np.int64), threshold, max(count, 1))
    np.testing.assert_array_equal(kept, order[ours])


def test_torchvisions_own_nms_runs():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    kept = _torchvision.torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
    assert kept.tolist() == [1, 2]
    assert _torchvision.torchvision.extension._has_ops()


def test_timm_comes_through_the_same_door():
    assert "resnet18" in _torchvision.timm.list_models("resnet1*")
