import math

import numpy as np

from edgessd.ops.exp import exp


def test_it_is_the_nearest_float32_on_every_processor(rng):
    x = rng.uniform(-80, 80, 20_000).astype(np.float32)
    known = np.array([math.exp(each) for each in x.tolist()]).astype(np.float32)
    assert exp(x).dtype == np.float32
    assert np.array_equal(exp(x), known)


def test_what_is_not_finite():
    with np.errstate(over="ignore"):
        assert np.array_equal(exp(np.array([-np.inf, np.inf, 0], np.float32)), [0, np.inf, 1])
    assert np.isnan(exp(np.array([np.nan], np.float32)))
