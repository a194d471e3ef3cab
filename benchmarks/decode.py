"""Milliseconds of decode and suppression in C (`edgessd bundle --target c`) beside ops.postprocess, on one core.

    python benchmarks/decode.py [MODEL] [--compiler gcc] [--options=-O2] [--runs 300] [--json FILE]

Outputs are those of the bundled photos, and random ones with many more candidates, by both kinds of scores.
The two take turns in one loop, so that a slow moment hits both; the result is checked each time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgessd import Detector, load_image, zoo
from edgessd.apps.bundle import write_c
from edgessd.apps.bundle.code import c_tables
from edgessd.model_file import read_outputs
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.ops.scores import candidates
from edgessd.spec import ModelSpec
from edgessd.zoo import resolve_model

SIZE = (640, 480)


class Tensor(ctypes.Structure):
    """edgessd_tensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    )


class Detection(ctypes.Structure):
    """edgessd_detection."""

    _fields_ = (
        ("label", ctypes.c_int32),
        ("prior", ctypes.c_int32),
        ("score", ctypes.c_float),
        ("box", ctypes.c_float * 4),
    )


def build(model: str | None, spec: ModelSpec, compiler: str, options: str, folder: Path) -> ctypes.CDLL:
    """Compile the code of a spec as a library."""
    write_c([model], folder / spec.scores)
    source, library = folder / spec.scores / "edgessd.c", folder / f"{spec.scores}.so"
    source.with_name("edgessd_model.h").write_text(c_tables(spec, read_outputs(resolve_model(model))[2]))
    command = [compiler, "-std=c99", *shlex.split(options), "-shared", "-fPIC", "-o", library, source, "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def cases(model: str | None) -> Iterator[tuple[str, ModelSpec, RawOutputs]]:
    """Yield name, spec and outputs."""
    with Detector.load(model) as detector:
        spec = detector.spec
        for photo in zoo.photos():
            outputs = detector.runtime.run(preprocess(load_image(photo), spec.input)[None])
            assert isinstance(outputs, RawOutputs), "decode and suppression begin at level raw"
            yield photo.stem, spec, outputs
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 1, (1, spec.priors.count, 4)).astype(np.float32)
    for scores, middle in (("sigmoid", -6), ("sigmoid", -3), ("softmax", -6), ("softmax", -3)):
        spec = msgspec.structs.replace(spec, scores=scores)
        logits = rng.normal(middle, 2, (1, spec.priors.count, spec.num_logits)).astype(np.float32)
        if scores == "softmax":
            logits[..., 0] = rng.normal(0, 2, logits.shape[:2])
        yield f"random {scores}, mean {middle}", spec, RawOutputs(logits, offsets)


def measure(name: str, spec: ModelSpec, outputs: RawOutputs, library: ctypes.CDLL, runs: int) -> dict[str, object]:
    """Measure one case."""
    room = (ctypes.c_char * (64 * (spec.priors.count + len(spec.classes) + spec.num_logits)))()
    found = (Detection * spec.defaults.max_detections)()
    tensors = [Tensor(np.ascontiguousarray(each[0]).ctypes.data, 0, 1.0, 0) for each in outputs]
    arguments = [ctypes.byref(each) for each in tensors]

    def in_c() -> NDArray[np.int64]:
        count = library.edgessd_detect(*arguments, *SIZE, None, room, found, len(found))
        return np.array([each.label for each in found[:count]], np.int64)

    def in_python() -> NDArray[np.int64]:
        return postprocess(outputs, spec, SIZE).labels

    times: dict[str, list[float]] = {"C": [], "Python": []}
    for _ in range(runs):
        labels = [_timed(each, times[kind]) for kind, each in (("C", in_c), ("Python", in_python))]
        assert np.array_equal(*labels)
    best = spec.defaults.score_threshold
    found_pairs = candidates(outputs.logits[0], spec.scores, best)[0]
    row: dict[str, object] = {"outputs": name, "candidates": len(found_pairs), "detections": len(labels[0])}
    for kind, values in times.items():
        row[kind] = {"median": float(np.median(values)), "p90": float(np.percentile(values, 90))}
    return row


def _timed(call: Callable[[], NDArray[np.int64]], into: list[float]) -> NDArray[np.int64]:
    started = time.perf_counter()
    result = call()
    into.append((time.perf_counter() - started) * 1e3)
    return result


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a bundled name or a file of level raw")
    parser.add_argument("--compiler", default="gcc")
    parser.add_argument("--options", default="-O2", help="of the compiler")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        libraries, rows = {}, []
        for name, spec, outputs in cases(options.model):
            if spec.scores not in libraries:
                libraries[spec.scores] = build(options.model, spec, options.compiler, options.options, Path(folder))
            rows.append(measure(name, spec, outputs, libraries[spec.scores], options.runs))
    table = Table("outputs", "candidates", "detections", "C, ms", "p90", "Python, ms", "p90")
    for row in rows:
        times = [f"{row[kind][value]:.3f}" for kind in ("C", "Python") for value in ("median", "p90")]  # type: ignore[index]
        table.add_row(str(row["outputs"]), str(row["candidates"]), str(row["detections"]), *times)
    Console().print(table)
    if options.json:
        machine = {"processor": platform.processor(), "compiler": options.compiler, "options": options.options}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
