import numpy as np
import pytest
import torch

from edgessd._torchvision import torchvision  # noqa: F401 - the door to torchvision
from edgessd.ops.priors import caffe_priors, inside_mask, paper_priors, prior_boxes
from edgessd.training.matching import BACKGROUND, IGNORED, match

# Four unit quarters of the picture.
QUARTERS = torch.tensor(
    [[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]
)
WHOLE_QUARTER = [0.0, 0.0, 0.5, 0.5]


def table(*boxes, size=None):
    size = size or len(boxes)
    result = torch.zeros(1, size, 4)
    valid = torch.zeros(1, size, dtype=torch.bool)
    for row, box in enumerate(boxes):
        result[0, row], valid[0, row] = torch.tensor(box), True
    return result, valid


CASES = [
    ("no objects", [], [-1, -1, -1, -1]),
    ("one exact", [WHOLE_QUARTER], [0, -1, -1, -1]),
    ("forced below the threshold", [[0.55, 0.05, 0.65, 0.15]], [-1, 0, -1, -1]),
    ("two objects", [[0.5, 0.5, 1, 1], WHOLE_QUARTER], [1, -1, -1, 0]),
    # Both want prior 0: torchvision's SSDMatcher gives it to the later one, although the first overlaps it more.
    ("conflict", [WHOLE_QUARTER, [0.0, 0.0, 0.3, 0.3]], [1, -1, -1, -1]),
    ("equal objects", [WHOLE_QUARTER, WHOLE_QUARTER], [1, -1, -1, -1]),
    ("no area", [[0.2, 0.2, 0.2, 0.4]], [-1, -1, -1, -1]),
    ("inverted", [[0.4, 0.4, 0.1, 0.1]], [-1, -1, -1, -1]),
    ("not a number", [[float("nan"), 0, 0.5, 0.5]], [-1, -1, -1, -1]),
    ("outside", [[1.5, 1.5, 2.0, 2.0]], [-1, -1, -1, -1]),
    ("padding between", [WHOLE_QUARTER, [0.4, 0.4, 0.1, 0.1], [0.5, 0, 1, 0.5]], [0, 2, -1, -1]),
]


@pytest.mark.parametrize(("name", "boxes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_table(name, boxes, expected):
    assert match(QUARTERS, *table(*boxes, size=4)).tolist() == [expected]


@pytest.mark.parametrize("empty", [(0, 3), (2, 0), (0, 0)])
def test_empty_batches(empty):
    batch, most = empty
    found = match(QUARTERS, torch.zeros(batch, most, 4), torch.ones(batch, most, dtype=torch.bool))
    assert found.shape == (batch, 4)
    assert (found == BACKGROUND).all()


def test_difficult_objects_are_neither_positive_nor_negative():
    boxes, valid = table(WHOLE_QUARTER, [0.5, 0.5, 1, 1])
    difficult = torch.tensor([[True, False]])
    assert match(QUARTERS, boxes, valid, ignore=difficult).tolist() == [[IGNORED, -1, -1, 1]]
    assert match(QUARTERS, boxes, valid).tolist() == [[0, -1, -1, 1]]


def test_an_object_takes_a_prior_that_a_difficult_one_would_ignore():
    boxes, valid = table(WHOLE_QUARTER, [0.0, 0.0, 0.4, 0.5])
    assert match(QUARTERS, boxes, valid, ignore=torch.tensor([[True, False]])).tolist() == [[1, -1, -1, -1]]


def test_priors_inside_a_crowd_are_ignored():
    boxes, valid = table([0.0, 0.0, 1.0, 0.5])  # its IoU with either upper quarter is 0.5, so look at a larger one
    boxes[0, 0, 3] = 1.0
    crowd = torch.tensor([[True]])
    assert match(QUARTERS, boxes, valid, crowd=crowd).tolist() == [[IGNORED] * 4]
    assert match(QUARTERS, boxes, valid, ignore=crowd).tolist() == [[BACKGROUND] * 4]  # IoU 0.25


def test_multibox_matches_the_best_prior_alone():
    priors = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.45, 0.45]])
    boxes, valid = table([0.25, 0.25, 0.75, 0.75])
    assert match(priors, boxes, valid).tolist() == [[0, 0]]
    assert match(priors, boxes, valid, None).tolist() == [[0, -1]]


def test_excluded_priors_take_no_part():
    spec = paper_priors(exclude_boundary=True)
    active = torch.from_numpy(inside_mask(spec).copy())
    priors = torch.from_numpy(prior_boxes(spec).copy())
    boxes, valid = table([0.0, 0.0, 0.2, 0.2], [0.3, 0.3, 0.6, 0.6])
    found = match(priors, boxes, valid, active=active)[0]
    assert (found[~active] == IGNORED).all()
    assert (found[active] != IGNORED).all()
    assert set(found[active].tolist()) == {-1, 0, 1}


def random_objects(rng, batch, most):
    centers, sizes = rng.random((batch, most, 2)), rng.uniform(0.02, 0.7, (batch, most, 2))
    boxes = np.clip(np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=2), 0, 1)
    counts = rng.integers(0, most + 1, batch)
    return torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(np.arange(most) < counts[:, None])


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchvision(seed):
    from torchvision.models.detection._utils import SSDMatcher
    from torchvision.ops.boxes import box_iou

    priors = torch.from_numpy(prior_boxes(caffe_priors(300)).copy())
    corners = torch.cat([priors[:, :2] - 0.5 * priors[:, 2:], priors[:, :2] + 0.5 * priors[:, 2:]], dim=1)
    boxes, valid = random_objects(np.random.default_rng(seed), 6, 14)
    valid[0] = False
    matcher = SSDMatcher(0.5)
    theirs = []
    for each, chosen in zip(boxes, valid, strict=True):
        none = torch.full((len(priors),), -1)
        theirs.append(matcher(box_iou(each[chosen], corners)) if chosen.any() else none)
    assert torch.equal(match(priors, boxes, valid), torch.stack(theirs))
