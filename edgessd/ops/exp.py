"""The exponential function of every score and box."""

from __future__ import annotations

import numpy as np

from edgessd._shapes import Float32, Floats


def exp(x: Float32[Floats, "*axes"]) -> Float32[Floats, "*axes"]:
    """Return e to the power of x, float32, correctly rounded but for about one number in 2^28.

    By way of float64, because numpy's own float32 exp differs from processor to processor, and from that of C and
    Java: here, scores and their order are the same everywhere.
    """
    result: Floats = np.exp(x, dtype=np.float64).astype(np.float32)
    return result
