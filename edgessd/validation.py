"""Whether a model file keeps to docs/model-file.md: what it says of itself, and what its engine makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgessd.errors import SpecError
from edgessd.model_file.checks import Check, attempt, check_model_file
from edgessd.ops.outputs import FinalOutputs
from edgessd.runtimes import load_runtime


def validate(path: str | Path) -> list[Check]:
    """Hold a model file against docs/model-file.md, and run it on one grey picture.

    Only the last check needs the engine of the file's format, and is left out where that is not installed. A file
    whose spec cannot be read gets no further checks. Raises ModelError only for a file that cannot be read at all.
    """
    checks = check_model_file(path)
    if not {"structure", "spec"} <= {check.name for check in checks if check.passed}:
        return checks
    return [*checks, attempt("run", lambda: _run(path))]


def _run(path: str | Path) -> str:
    """Run one grey picture, which shows what only the engine knows."""
    runtime = load_runtime(path, threads=1)
    spec = runtime.spec
    try:
        grey = np.full((1, *spec.input.tensor_shape), 0 if spec.input.dtype == "float32" else 100, spec.input.dtype)
        outputs = runtime.run(grey)
    finally:
        runtime.close()
    if isinstance(outputs, FinalOutputs):
        count = int(outputs.counts[0])
        if not 0 <= count <= spec.defaults.max_detections:
            raise SpecError(f"{count} detections on an empty picture")
        outputs = outputs._replace(boxes=outputs.boxes[:, :count], scores=outputs.scores[:, :count])
    if not all(np.isfinite(each).all() for each in outputs):
        raise SpecError("not all outputs are numbers")
    return f"{runtime.name}: shapes as the spec says"
