import math

import numpy as np
import pytest
import torch

from edgessd._torchvision import torchvision  # noqa: F401 - the door to torchvision
from edgessd.errors import OptionError
from edgessd.ops import boxes as numpy_boxes
from edgessd.ops.priors import caffe_priors, prior_boxes
from edgessd.spec import CoderSpec
from edgessd.training.loss import LOSS_KINDS, MultiBoxLoss, encode
from edgessd.training.matching import IGNORED, match

# Four unit quarters of the picture.
QUARTERS = torch.tensor(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
)
WHOLE_QUARTER = [0.0, 0.0, 0.5, 0.5]
COLUMNS = {"softmax": 4, "focal": 3, "sigmoid": 3, "multibox": 1}


def table(*boxes, size=None):
    size = size or len(boxes)
    result = torch.zeros(1, size, 4)
    valid = torch.zeros(1, size, dtype=torch.bool)
    for row, box in enumerate(boxes):
        result[0, row], valid[0, row] = torch.tensor(box), True
    return result, valid


def random_objects(rng, batch, most):
    centers, sizes = rng.random((batch, most, 2)), rng.uniform(0.02, 0.7, (batch, most, 2))
    boxes = np.clip(np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=2), 0, 1)
    counts = rng.integers(0, most + 1, batch)
    return torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(np.arange(most) < counts[:, None])


def test_by_hand():
    """One object of class 1 in the upper left quarter, half as wide: one positive, three negatives.

    Offsets of box (0, 0, 0.25, 0.5) for prior (0.25, 0.25, 0.5, 0.5): dx = (0.125 - 0.25) / 0.5 / 0.1 = -2.5,
    dw = ln(0.5) / 0.2 = -3.4657; predicted 0. Smooth L1: (2.5 - 0.5) + (3.4657 - 0.5) = 4.9657.
    Classes: all logits 0 but the object's own, 2, at prior 0: ln(e^2 + 2) - 2 = 0.2395; negatives ln 3 each.
    """
    boxes, valid = table([0.0, 0.0, 0.25, 0.5])
    matched = match(QUARTERS, boxes, valid)
    assert matched.tolist() == [[0, -1, -1, -1]]
    logits = torch.zeros(1, 4, 3)
    logits[0, 0, 2] = 2.0
    losses = MultiBoxLoss(QUARTERS)(logits, torch.zeros(1, 4, 4), matched, boxes, torch.tensor([[1]]))
    assert losses.boxes.item() == pytest.approx(2.0 + math.log(2) / 0.2 - 0.5, abs=1e-5)
    assert losses.classes.item() == pytest.approx(math.log(math.e**2 + 2) - 2 + 3 * math.log(3), abs=1e-5)
    assert losses.total.item() == pytest.approx(losses.boxes.item() + losses.classes.item())


def test_encode_equals_the_core():
    rng = np.random.default_rng(0)
    boxes, _ = random_objects(rng, 1, 50)
    priors = prior_boxes(caffe_priors(300))[:50]
    ours = encode(boxes[0], torch.from_numpy(priors.copy()), CoderSpec())
    assert np.allclose(ours, numpy_boxes.encode(boxes[0].numpy(), priors, CoderSpec()), atol=1e-5)


class Theirs:
    """What torchvision's SSD.compute_loss needs of an SSD."""

    neg_to_pos_ratio = 3

    def __init__(self):
        from torchvision.models.detection._utils import BoxCoder

        self.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))

    def __call__(self, logits, offsets, matched, boxes, valid, labels, priors):
        from torchvision.models.detection.ssd import SSD

        corners = torch.cat([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], dim=1)
        targets = [
            {"boxes": each[chosen], "labels": names[chosen] + 1}
            for each, chosen, names in zip(boxes, valid, labels, strict=True)
        ]
        outputs = {"bbox_regression": offsets, "cls_logits": logits}
        return SSD.compute_loss(self, targets, outputs, [corners] * len(boxes), list(matched))


@pytest.mark.parametrize("scale", [1.0, 30.0])  # beyond 60 the fast sum of exponentials must not be used
@pytest.mark.parametrize("seed", range(3))
def test_equals_torchvision(seed, scale):
    rng = np.random.default_rng(seed)
    priors = torch.from_numpy(prior_boxes(caffe_priors(300)).copy())
    boxes, valid = random_objects(rng, 4, 6)
    valid[0] = False
    valid[:, 0] |= torch.arange(4) == 1
    # Padding is moved to the end, as torchvision's indices count real objects only.
    matched = match(priors, boxes, valid)
    logits = (torch.from_numpy(rng.normal(size=(4, 8732, 5)).astype(np.float32)) * scale).requires_grad_()
    offsets = torch.from_numpy(rng.normal(size=(4, 8732, 4)).astype(np.float32)).requires_grad_()
    labels = torch.from_numpy(rng.integers(0, 4, (4, 6)))
    ours = MultiBoxLoss(priors)(logits, offsets, matched, boxes, labels)
    ours.total.backward()
    gradients = logits.grad.clone(), offsets.grad.clone()
    logits.grad = offsets.grad = None
    theirs = Theirs()(logits, offsets, matched, boxes, valid, labels, priors)
    sum(theirs.values()).backward()
    assert ours.boxes.item() == pytest.approx(theirs["bbox_regression"].item(), rel=1e-5)
    assert ours.classes.item() == pytest.approx(theirs["classification"].item(), rel=1e-5)
    assert torch.allclose(gradients[0], logits.grad, atol=1e-6)
    assert torch.allclose(gradients[1], offsets.grad, atol=1e-6)


def nothing(kind, batch=2):
    logits = torch.randn(batch, 4, COLUMNS[kind], requires_grad=True)
    offsets = torch.randn(batch, 4, 4, requires_grad=True)
    return logits, offsets


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_without_objects_the_loss_is_finite_and_has_a_gradient(kind):
    logits, offsets = nothing(kind)
    boxes, labels = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)
    matched = match(QUARTERS, boxes, torch.zeros(2, 3, dtype=torch.bool))
    losses = MultiBoxLoss(QUARTERS, kind=kind)(logits, offsets, matched, boxes, labels)
    losses.total.backward()
    assert losses.boxes.item() == 0
    assert torch.isfinite(losses.total)
    assert torch.isfinite(logits.grad).all()
    assert (offsets.grad == 0).all()


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_ignored_priors_have_no_gradient(kind):
    logits, offsets = nothing(kind, 1)
    boxes, valid = table(WHOLE_QUARTER, [0.5, 0.5, 1, 1])
    matched = match(QUARTERS, boxes, valid, ignore=torch.tensor([[True, False]]))
    assert matched[0, 0] == IGNORED
    losses = MultiBoxLoss(QUARTERS, kind=kind)(logits, offsets, matched, boxes, torch.zeros(1, 2, dtype=torch.long))
    losses.total.backward()
    assert (logits.grad[0, 0] == 0).all() and (offsets.grad[0, 0] == 0).all()
    assert (logits.grad[0, 3] != 0).all()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_the_hardest_three_negatives_per_positive_are_mined(kind):
    priors = torch.rand(20, 4) * 0.1 + 0.5
    matched = torch.full((1, 20), -1)
    matched[0, 5] = 0
    logits = torch.zeros(1, 20, COLUMNS[kind])
    logits[0, [2, 9, 17], -1] = torch.tensor([3.0, 2.0, 1.0])  # the most mistaken ones
    logits.requires_grad_()
    boxes = torch.tensor([[[0.4, 0.4, 0.6, 0.6]]])
    loss = MultiBoxLoss(priors, kind=kind)(
        logits, torch.zeros(1, 20, 4), matched, boxes, torch.zeros(1, 1, dtype=torch.long)
    )
    loss.total.backward()
    assert set(logits.grad.abs().sum(dim=2)[0].nonzero()[:, 0].tolist()) == {2, 5, 9, 17}


def test_focal_equals_torchvision():
    from torchvision.ops import sigmoid_focal_loss

    boxes, valid = table(WHOLE_QUARTER)
    matched = match(QUARTERS, boxes, valid)
    logits = torch.randn(1, 4, 3)
    wanted = torch.zeros(1, 4, 3)
    wanted[0, 0, 2] = 1
    ours = MultiBoxLoss(QUARTERS, kind="focal")(logits, torch.zeros(1, 4, 4), matched, boxes, torch.tensor([[2]]))
    assert ours.classes.item() == pytest.approx(sigmoid_focal_loss(logits, wanted, reduction="sum").item(), rel=1e-5)


def test_multibox_by_hand():
    """Objectness: ln 2 for each of 4 priors at logit 0; location: half the square of dx = -2.5 and dw = -3.4657."""
    boxes, valid = table([0.0, 0.0, 0.25, 0.5])
    matched = match(QUARTERS, boxes, valid, None)
    loss = MultiBoxLoss(QUARTERS, kind="multibox", alpha=0.3)
    losses = loss(torch.zeros(1, 4, 1), torch.zeros(1, 4, 4), matched, boxes, torch.tensor([[0]]))
    assert losses.classes.item() == pytest.approx(4 * math.log(2), rel=1e-5)
    assert losses.boxes.item() == pytest.approx(0.5 * (2.5**2 + (math.log(2) / 0.2) ** 2), rel=1e-5)
    assert losses.total.item() == pytest.approx(losses.classes.item() + 0.3 * losses.boxes.item(), rel=1e-6)


@pytest.mark.parametrize("kind", LOSS_KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind, dtype):
    logits, offsets = (value.detach().to(dtype).requires_grad_() for value in nothing(kind, 1))
    boxes, valid = table(WHOLE_QUARTER)
    labels = torch.tensor([[0]])
    matched = match(QUARTERS, boxes.to(dtype), valid)
    loss = MultiBoxLoss(QUARTERS, kind=kind)
    losses = loss(logits, offsets, matched, boxes.to(dtype), labels)
    losses.total.backward()
    exact = loss(logits.detach().float(), offsets.detach().float(), matched, boxes, labels)
    assert losses.total.dtype == torch.float32 and logits.grad.dtype == dtype
    assert losses.total.item() == pytest.approx(exact.total.item(), rel=1e-5)


def test_a_shared_normalizer_adds_up_to_the_large_batch():
    rng = np.random.default_rng(3)
    priors = torch.from_numpy(prior_boxes(caffe_priors(300)).copy())
    boxes, valid = random_objects(rng, 4, 5)
    labels = torch.zeros(4, 5, dtype=torch.long)
    logits, offsets = torch.randn(4, 8732, 3), torch.randn(4, 8732, 4)
    matched = match(priors, boxes, valid)
    loss = MultiBoxLoss(priors)
    whole = loss(logits, offsets, matched, boxes, labels)
    count = (matched >= 0).sum()
    halves = [
        loss(*(value[part] for value in (logits, offsets, matched, boxes, labels)), count)
        for part in (slice(2), slice(2, 4))
    ]
    assert (halves[0].total + halves[1].total).item() == pytest.approx(whole.total.item(), rel=1e-5)


def test_unknown_kind():
    with pytest.raises(OptionError, match="softmax, focal"):
        MultiBoxLoss(QUARTERS, kind="hinge")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["softmax", "focal"])
def test_compiled_gives_the_same(kind):
    boxes, valid = table(WHOLE_QUARTER, [0.5, 0.5, 0.9, 1])
    labels = torch.tensor([[0, 1]])
    logits, offsets = torch.randn(1, 4, COLUMNS[kind]), torch.randn(1, 4, 4)
    loss = MultiBoxLoss(QUARTERS, kind=kind)
    matched = match(QUARTERS, boxes, valid)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(
        loss(logits, offsets, matched, boxes, labels), compiled(logits, offsets, matched, boxes, labels), strict=True
    ):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
