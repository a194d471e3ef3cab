import numpy as np
import pytest

from edgessd.ops.scores import candidates, class_scores, logit, score_candidates, sigmoid, softmax


def reference(logits, kind, threshold):
    values = logits.astype(np.float64)
    if kind == "sigmoid":
        table = 1 / (1 + np.exp(-values))
    else:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        table = (powers / powers.sum(axis=1, keepdims=True))[:, 1:]
    return table, np.argwhere(table > threshold)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.05, 0.3, 0.5, 0.9, 1.0])
def test_thresholding_logits_finds_exactly_what_thresholding_scores_finds(rng, kind, threshold):
    logits = rng.normal(0, 3, (400, 7)).astype(np.float32)
    table, pairs = reference(logits, kind, threshold)
    assert threshold == 0 or np.abs(table - threshold).min() > 1e-7, "a tie would make the test unfair"
    prior, label, score = candidates(logits, kind, threshold)
    assert np.stack([prior, label], axis=1).tolist() == pairs.tolist()
    np.testing.assert_allclose(score, table[tuple(pairs.T)], rtol=1e-5)
    assert score.dtype == np.float32


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_a_choice_of_classes_changes_no_score(rng, kind):
    logits = rng.normal(0, 3, (200, 6)).astype(np.float32)
    prior, label, score = candidates(logits, kind, 0.2)
    chosen = np.isin(label, [1, 3])
    some = candidates(logits, kind, 0.2, np.array([1, 3]))
    for got, expected in zip(some, (prior[chosen], label[chosen], score[chosen]), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_nothing_passes(kind):
    prior, label, score = candidates(np.full((5, 4), -9, np.float32), kind, 0.5)
    assert len(prior) == len(label) == len(score) == 0


def test_extreme_logits_do_not_overflow():
    extreme = np.array([-1e4, 0, 1e4], np.float32)
    assert sigmoid(extreme).tolist() == pytest.approx([0, 0.5, 1])
    assert softmax(extreme).tolist() == [0, 0, 1]


def test_logit_is_the_inverse_of_the_sigmoid():
    assert logit(0.5) == 0
    assert sigmoid(np.float32([logit(0.3)]))[0] == pytest.approx(0.3)
    assert logit(0) == -np.inf
    assert logit(1) == np.inf


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.9])
def test_one_class_just_above_the_threshold_is_found(threshold):
    # With one class, softmax is the sigmoid of the difference of the logits: the bound before exp() is tight.
    for above, count in ((1e-4, 1), (3e-3, 1), (-1e-4, 0)):
        row = np.array([[0.3, 0.3 + logit(threshold) + above]], np.float32)
        assert len(candidates(row, "softmax", threshold)[0]) == count, above


@pytest.mark.parametrize(("kind", "row"), [("sigmoid", [0.0]), ("softmax", [1.0, 1.0])])
def test_a_score_at_the_threshold_is_below_it(kind, row):
    assert len(candidates(np.array([row], np.float32), kind, 0.5)[0]) == 0
    assert candidates(np.array([row], np.float32), kind, 0.499)[2].tolist() == [0.5]


def test_scores_at_the_threshold_are_below_it():
    table = np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)
    prior, label, score = score_candidates(table, 0.5)
    assert (prior.tolist(), label.tolist(), score.tolist()) == ([1], [1], [0.75])
    prior, label, score = score_candidates(table, 0.4, np.array([1]))
    assert (prior.tolist(), label.tolist(), score.tolist()) == ([0, 1], [1, 1], [0.5, 0.75])


def test_sigmoid_is_exact_down_to_minus_80():
    assert sigmoid(np.float32([-80, -79.5, -1000])).tolist() == pytest.approx(
        [np.exp(-80.0), np.exp(-79.5), np.exp(-80.0)], rel=1e-6, abs=0
    )


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@pytest.mark.parametrize("columns", [2, 7])
def test_a_score_equal_to_the_threshold_is_left_out_and_one_above_it_is_not(rng, kind, columns):
    logits = rng.normal(0, 4, (60, columns)).astype(np.float32)
    table = class_scores(logits, kind)
    for score in np.unique(table)[::3].tolist():  # each as the threshold, exactly
        _, _, found = candidates(logits, kind, score)
        assert found.tolist() == table[table > np.float32(score)].tolist()
        assert score_candidates(table, score)[2].tolist() == found.tolist()


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_scores_beside_thresholds_at_both_ends(kind):
    column = np.concatenate([np.linspace(-25, 25, 4001), [-90, 90]]).astype(np.float32)[:, None]
    logits = column if kind == "sigmoid" else np.concatenate([np.zeros_like(column), column], axis=1)
    table = class_scores(logits, kind)
    for threshold in (0.0, 1e-9, 1e-4, 0.5, 0.999, 0.9999999, 1.0, float(np.nextafter(np.float32(1), np.float32(0)))):
        _, _, found = candidates(logits, kind, threshold)
        assert found.tolist() == table[table > np.float32(threshold)].tolist()


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_no_classes_give_no_candidates(rng, kind):
    none = np.array([], np.int64)
    logits = rng.normal(0, 3, (20, 4)).astype(np.float32)
    for found in (candidates(logits, kind, 0.1, none), score_candidates(class_scores(logits, kind), 0.1, none)):
        assert [len(each) for each in found] == [0, 0, 0]


def test_the_sum_of_softmax_is_taken_in_float64(rng):
    logits = rng.normal(0, 1, (500, 81)).astype(np.float32)
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64)).astype(np.float32)
    sums = powers.astype(np.float64).sum(axis=1, keepdims=True).astype(np.float32)
    np.testing.assert_array_equal(softmax(logits), powers / sums)


def test_one_class_alone_has_as_many_priors_as_rows():
    logits = np.array([[5], [-5], [5]], np.float32)
    for prior, label, _ in (candidates(logits, "sigmoid", 0.5), score_candidates(sigmoid(logits), 0.5)):
        assert prior.tolist() == [0, 2] and label.tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@pytest.mark.parametrize("label", range(5))
def test_a_class_that_is_chosen_alone_is_looked_at_itself(kind, label):
    row = np.full((1, 5 + (kind == "softmax")), -9, np.float32)
    row[0, label + (kind == "softmax")] = 5
    for chosen, found in ((label, [label]), ((label + 1) % 5, [])):
        assert candidates(row, kind, 0.9, np.array([chosen]))[1].tolist() == found
