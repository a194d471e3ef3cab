import msgspec
import numpy as np
import pytest

from edgessd.ops.boxes import decode
from edgessd.ops.outputs import DecodedOutputs, FinalOutputs, RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import caffe_priors, explicit_priors, prior_boxes
from edgessd.ops.scores import sigmoid, softmax
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


def run(table, offsets, *arguments):
    """Postprocess one picture's raw outputs."""
    return postprocess(RawOutputs(table[None], offsets[None]), *arguments)


def test_nothing_found():
    found = run(logits([-9, -9], [-9, -9]), NONE, SPEC, (100, 40))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


def test_boxes_come_in_source_pixels_best_first():
    found = run(logits([0, -9], [-9, 2]), NONE, SPEC, (100, 40))
    assert found.boxes.tolist() == [[50, 0, 100, 40], [0, 0, 50, 40]]
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_letterbox_is_undone():
    spec = msgspec.structs.replace(SPEC, input=InputSpec(width=10, height=10, resize="letterbox"))
    offsets = NONE.copy()
    found = run(logits([0, -9], [-9, -9]), offsets, spec, (200, 100))
    assert found.boxes.tolist() == [[0, 0, 100, 100]]  # 200 of the input's 200x200 pixels, cut to the picture


def test_boxes_are_cut_to_the_picture_and_dropped_outside_of_it():
    offsets = np.array([[-10, 0, 0, 0], [10, 0, 0, 0]], np.float32)  # moved by half a picture each
    found = run(logits([1, -9], [2, -9]), offsets, SPEC, (100, 100))
    assert len(found.boxes) == 0
    offsets = np.array([[-5, 0, 0, 0], [5, 0, 0, 0]], np.float32)
    found = run(logits([1, -9], [2, -9]), offsets, SPEC, (100, 100))
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
    assert len(run(table, NONE, SPEC, (10, 10), Thresholds(**changes)).scores) == count


def test_equal_scores_keep_the_order_of_the_priors():
    found = run(logits([1, -9], [1, -9]), NONE, SPEC, (100, 100))
    assert found.boxes[:, 0].tolist() == [0, 50]


def test_priors_across_the_boundary_take_no_part_where_the_spec_says_so():
    crossing = explicit_priors([(1, 2)], [[(0.6, 1.0)]], exclude_boundary=True)
    spec = msgspec.structs.replace(SPEC, priors=crossing)
    assert len(run(logits([1, -9], [1, -9]), NONE, spec, (10, 10)).scores) == 0


def test_nan_outputs_are_no_detections():
    assert len(run(np.full((2, 2), np.nan, np.float32), NONE, SPEC, (10, 10)).scores) == 0


def decoded(raw, spec):
    """The same outputs as a graph of level decoded gives them, written without the code under test."""
    scores = sigmoid(raw.logits) if spec.scores == "sigmoid" else softmax(raw.logits)[..., 1:]
    return DecodedOutputs(
        scores, np.stack([decode(each, prior_boxes(spec.priors), spec.coder) for each in raw.offsets])
    )


@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("exclude_boundary", [False, True])
def test_decoded_outputs_give_the_same_detections_as_raw_ones(rng, scores, resize, exclude_boundary):
    priors = caffe_priors(300, exclude_boundary=exclude_boundary)
    tensor = InputSpec(width=300, height=300, resize=resize)
    spec = ModelSpec(name="a", input=tensor, classes=("a", "b", "c"), priors=priors, scores=scores)
    shape = (2, priors.count)
    raw = RawOutputs(
        rng.normal(-3 if scores == "sigmoid" else 0, 2, (*shape, spec.num_logits)).astype(np.float32),
        rng.normal(0, 1, (*shape, 4)).astype(np.float32),
    )
    limits = Thresholds(score_threshold=0.3, iou_threshold=0.45, max_detections=50)
    before = decoded(raw, spec)
    outputs = DecodedOutputs(before.scores.copy(), before.boxes.copy())
    for picture in (0, 1):
        for classes in (None, np.array([0, 2])):
            expected = postprocess(raw, spec, (640, 480), limits, classes, picture=picture)
            found = postprocess(outputs, spec, (640, 480), limits, classes, picture=picture)
            assert 5 < len(found.scores) <= 50
            np.testing.assert_array_equal(found.labels, expected.labels)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
            np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(outputs.boxes, before.boxes)  # the caller's arrays are not changed


FINAL = FinalOutputs(
    boxes=np.array([[[0, 0, 0.5, 1], [0.5, 0, 1.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]]], np.float32),
    scores=np.array([[0.9, 0.8, 0.7, 0.6]], np.float32),
    labels=np.array([[1, 0, 0, 0]]),
    counts=np.array([3]),
)


def final(**changes):
    return FINAL._replace(**{key: np.array([value], getattr(FINAL, key).dtype) for key, value in changes.items()})


def test_final_outputs_are_cut_to_the_picture_and_not_suppressed_again():
    found = postprocess(FINAL, SPEC, (100, 40))
    assert found.boxes.tolist() == [[0, 0, 50, 40], [50, 0, 100, 40], [50, 0, 100, 40]]
    assert found.labels.tolist() == [1, 0, 0]
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize(
    ("limits", "classes", "scores"),
    [
        ({}, None, [0.9, 0.8, 0.7]),
        ({"score_threshold": 0.75}, None, [0.9, 0.8]),
        ({"max_detections": 1}, None, [0.9]),
        ({}, np.array([0]), [0.8, 0.7]),
        ({}, np.array([], np.int64), []),
    ],
)
def test_final_outputs_are_filtered(limits, classes, scores):
    found = postprocess(FINAL, SPEC, (100, 40), Thresholds(**limits), classes)
    assert found.scores.tolist() == pytest.approx(scores)


@pytest.mark.parametrize(
    ("changes", "scores"),
    [
        ({"counts": -5}, []),
        ({"counts": -1}, []),
        ({"boxes": [[0, 0.5, 1, 0.5], [0.5, 0, 0.5, 1], [0, 0, 1, 1], [0, 0, 1, 1]]}, [0.7]),
        ({"counts": 2**62}, [0.9, 0.8, 0.7, 0.6]),
        ({"labels": [2, -1, 2**40, 0]}, []),
        ({"scores": [np.nan, np.inf, -np.inf, 0.6]}, []),
        ({"boxes": [[np.nan, 0, 1, 1], [0.5, np.nan, 1, 1], [-1, -1, -0.5, -0.5], [0, 0, 1, 1]]}, []),
        ({"boxes": [[1, 1, 0, 0], [0, 0, np.inf, np.inf], [0.2, 0, 0.2, 1], [0, 0, 1, 1]]}, [0.8]),
        ({"scores": [0.5, 0.7, 0.6, 0.9]}, [0.7, 0.6, 0.5]),
    ],
)
def test_nonsense_in_final_outputs_is_no_detection(changes, scores):
    assert postprocess(final(**changes), SPEC, (100, 40)).scores.tolist() == pytest.approx(scores)


def test_final_outputs_undo_the_letterbox_and_leave_the_graphs_arrays_alone():
    spec = msgspec.structs.replace(SPEC, input=InputSpec(width=10, height=10, resize="letterbox"))
    boxes = FINAL.boxes.copy()
    assert postprocess(FINAL, spec, (200, 100)).boxes.tolist() == [
        [0, 0, 100, 100],
        [100, 0, 200, 100],
        [100, 0, 200, 100],
    ]
    np.testing.assert_array_equal(FINAL.boxes, boxes)


def test_nonsense_in_decoded_outputs_is_no_detection():
    scores = np.array([[[np.nan, np.inf], [-np.inf, 0.9]]], np.float32)
    boxes = np.array([[[0, 0, 1, 1], [np.nan, 0, 1, 1]]], np.float32)
    assert len(postprocess(DecodedOutputs(scores, boxes), SPEC, (10, 10)).scores) == 0


GRID = explicit_priors([(20, 20)], [[(0.04, 0.04)]])  # 400 boxes that do not touch


@pytest.mark.parametrize("level", ["raw", "decoded", "nms"])
@pytest.mark.parametrize("count", [17, 400])
def test_many_equal_scores_keep_their_order(level, count):
    spec = msgspec.structs.replace(SPEC, priors=GRID)
    table = np.full((400, 2), -9, np.float32)
    table[:count, 0] = np.where(np.arange(count) % 3, 1, 2)  # two scores, so that there is something to sort
    raw = RawOutputs(table[None], np.zeros((1, 400, 4), np.float32))
    outputs = raw if level == "raw" else decoded(raw, spec)
    if level == "nms":
        labels = np.zeros((1, count), np.int64)
        outputs = FinalOutputs(outputs.boxes[:, :count], outputs.scores[:, :count, 0], labels, np.array([count]))
    limits = Thresholds(score_threshold=0.1, max_detections=400, max_candidates=400)
    found = postprocess(outputs, spec, (400, 400), limits)
    place = np.rint((found.boxes[:, 0] - 2) / 20 + (found.boxes[:, 1] - 2)).astype(int)
    order = [*range(0, count, 3), *(number for number in range(count) if number % 3)]
    assert place.tolist() == order


@pytest.mark.parametrize("level", ["raw", "decoded"])
def test_candidates_are_limited_by_class_at_every_level(level):
    spec = msgspec.structs.replace(SPEC, priors=GRID)
    raw = RawOutputs(np.ones((1, 400, 2), np.float32), np.zeros((1, 400, 4), np.float32))
    outputs = raw if level == "raw" else decoded(raw, spec)
    limits = Thresholds(score_threshold=0.1, max_detections=100, max_candidates=7)
    found = postprocess(outputs, spec, (400, 400), limits)
    assert np.bincount(found.labels).tolist() == [7, 7]


def test_a_score_at_the_threshold_is_below_it_at_every_level():
    raw = RawOutputs(np.array([[[0, -9], [1, -9]]], np.float32), NONE[None])  # sigmoid(0) is 0.5
    final = FinalOutputs(
        np.array([[[0, 0, 0.5, 1], [0.5, 0, 1, 1]]], np.float32),
        np.array([[0.5, 0.75]], np.float32), np.array([[0, 0]]), np.array([2]),
    )  # fmt: skip
    for outputs in (raw, decoded(raw, SPEC), final):
        found = postprocess(outputs, SPEC, (10, 10), Thresholds(score_threshold=0.5))
        assert len(found.scores) == 1 and found.scores[0] > 0.5


def test_the_letterbox_is_undone_with_the_size_that_the_picture_really_got():
    spec = msgspec.structs.replace(SPEC, input=InputSpec(width=300, height=300, resize="letterbox"))
    outputs = FinalOutputs(
        np.array([[[0, 0, 0.5, 0.2]]], np.float32), np.array([[0.9]], np.float32), np.array([[0]]), np.array([1])
    )
    # 1000 x 333 becomes 300 x 99.9, that is 100 rows: a row of the input is 3.33 rows of the picture.
    found = postprocess(outputs, spec, (1000, 333))
    np.testing.assert_allclose(found.boxes, [[0, 0, 500, 0.2 * 300 * 3.33]], rtol=1e-6)


def test_boxes_are_cut_at_top_and_bottom_as_well():
    offsets = np.array([[0, -5, 0, 0], [0, 5, 0, 0]], np.float32)  # up and down by half a picture
    found = run(logits([2, -9], [1, -9]), offsets, SPEC, (100, 60))
    np.testing.assert_allclose(found.boxes, [[0, 0, 50, 30], [50, 30, 100, 60]], rtol=1e-5)


def test_edges_of_the_picture_itself_are_inside():
    offsets = np.zeros((2, 4), np.float32)
    found = run(logits([1, -9], [2, -9]), offsets, SPEC, (64, 48))
    assert found.boxes.tolist() == [[32, 0, 64, 48], [0, 0, 32, 48]]


def test_labels_of_final_outputs_up_to_the_last_class_are_kept():
    found = postprocess(final(labels=[1, 0, 2, 0], scores=[0.9, 0.8, 0.7, 0.6]), SPEC, (100, 40))
    assert found.labels.tolist() == [1, 0]


def test_the_picture_of_a_batch_is_the_one_that_is_asked_for():
    both = FinalOutputs(*(np.concatenate([each, each]) for each in FINAL))
    both.scores[1] = [0.6, 0.5, 0.4, 0.3]
    both.counts[1] = 2
    assert postprocess(both, SPEC, (100, 40), picture=1).scores.tolist() == pytest.approx([0.6, 0.5])
    assert postprocess(both, SPEC, (100, 40)).scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
