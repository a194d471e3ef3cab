import msgspec
import numpy as np
import pytest

from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import explicit_priors
from edgessd.spec import InputSpec, ModelSpec, Thresholds

# Two priors side by side, each as large as half of the picture.
SPEC = ModelSpec(
    name="two",
    input=InputSpec(width=10, height=10),
    classes=("a", "b"),
    priors=explicit_priors([(1, 2)], [[(0.5, 1.0)]]),
    scores="sigmoid",
)
NONE = np.zeros((2, 4), np.float32)


def logits(*rows):
    return np.array(rows, np.float32)


def test_nothing_found():
    found = postprocess(logits([-9, -9], [-9, -9]), NONE, SPEC, (100, 40))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


def test_boxes_come_in_source_pixels_best_first():
    found = postprocess(logits([0, -9], [-9, 2]), NONE, SPEC, (100, 40))
    assert found.boxes.tolist() == [[50, 0, 100, 40], [0, 0, 50, 40]]
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_letterbox_is_undone():
    spec = msgspec.structs.replace(SPEC, input=InputSpec(width=10, height=10, resize="letterbox"))
    offsets = NONE.copy()
    found = postprocess(logits([0, -9], [-9, -9]), offsets, spec, (200, 100))
    assert found.boxes.tolist() == [[0, 0, 100, 100]]  # 200 of the input's 200x200 pixels, cut to the picture


def test_boxes_are_cut_to_the_picture_and_dropped_outside_of_it():
    offsets = np.array([[-10, 0, 0, 0], [10, 0, 0, 0]], np.float32)  # moved by half a picture each
    found = postprocess(logits([1, -9], [2, -9]), offsets, SPEC, (100, 100))
    assert len(found.boxes) == 0
    offsets = np.array([[-5, 0, 0, 0], [5, 0, 0, 0]], np.float32)
    found = postprocess(logits([1, -9], [2, -9]), offsets, SPEC, (100, 100))
    np.testing.assert_allclose(found.boxes, [[75, 0, 100, 100], [0, 0, 25, 100]], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"score_threshold": 0.1}, 4),
        ({"score_threshold": 0.6}, 2),
        ({"score_threshold": 0.1, "max_detections": 3}, 3),
        ({"score_threshold": 0.1, "max_candidates": 1}, 2),
    ],
)
def test_thresholds(changes, count):
    table = logits([1, 0], [0, 1])
    assert len(postprocess(table, NONE, SPEC, (10, 10), Thresholds(**changes)).scores) == count


def test_equal_scores_keep_the_order_of_the_priors():
    found = postprocess(logits([1, -9], [1, -9]), NONE, SPEC, (100, 100))
    assert found.boxes[:, 0].tolist() == [0, 50]


def test_priors_across_the_boundary_take_no_part_where_the_spec_says_so():
    crossing = explicit_priors([(1, 2)], [[(0.6, 1.0)]], exclude_boundary=True)
    spec = msgspec.structs.replace(SPEC, priors=crossing)
    assert len(postprocess(logits([1, -9], [1, -9]), NONE, spec, (10, 10)).scores) == 0


def test_nan_outputs_are_no_detections():
    assert len(postprocess(np.full((2, 2), np.nan, np.float32), NONE, SPEC, (10, 10)).scores) == 0
