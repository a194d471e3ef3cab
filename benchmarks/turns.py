"""Fair times of several networks: one after the other in each turn, so that a slow minute hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from edgessd import zoo
from edgessd.io.images import load_image
from edgessd.ops.preprocess import preprocess

Key = TypeVar("Key", bound=Hashable)
WARM_UP = 2


def median_milliseconds(runtimes: Mapping[Key, Any], runs: int) -> dict[Key, float]:
    """Return the median milliseconds of the bare run of each runtime, on a bundled photo."""
    picture = load_image(zoo.photos()[0])
    inputs = {key: preprocess(picture, runtime.spec.input)[None] for key, runtime in runtimes.items()}
    times: dict[Key, list[float]] = {key: [] for key in runtimes}
    gc.disable()
    for turn in range(runs + WARM_UP):
        for key, runtime in runtimes.items():
            runtime.run(inputs[key])  # the other networks have emptied the caches
            started = time.perf_counter()
            runtime.run(inputs[key])
            if turn >= WARM_UP:
                times[key].append(time.perf_counter() - started)
    gc.enable()
    return {key: round(1e3 * statistics.median(values), 2) for key, values in times.items()}
