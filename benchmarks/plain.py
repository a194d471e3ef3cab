"""The bare run in onnxruntime and OpenVINO with their default options, as programs without edgessd open a file.

    python benchmarks/plain.py FLOAT.onnx INT8.onnx [--threads 1] [--runs 60]

All in turns, medians in milliseconds, and the ratio to the float file in the same engine. `exact` is an option by which
onnxruntime computes any int8 file right on x86 without VNNI (`session.x64quantprecision`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgessd._onnxruntime import import_onnxruntime
from edgessd._openvino import import_openvino
from edgessd.apps.benchmark.tables import markdown_table

onnxruntime, openvino = import_onnxruntime(), import_openvino()
Run = Callable[[], Any]


def in_onnxruntime(path: str, threads: int, *, exact: bool = False) -> Run:
    """One run of a file on noise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    kind = np.uint8 if "uint8" in entry.type else np.float32
    values = noise([side if isinstance(side, int) else 1 for side in entry.shape], kind)
    return lambda: session.run(None, {entry.name: values})


def in_openvino(path: str, threads: int) -> Run:
    """The same in OpenVINO; float networks in float32."""
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", options)
    entry = model.inputs[0]
    shape = [side.get_length() if side.is_static else 1 for side in entry.get_partial_shape()]
    values = noise(shape, entry.get_element_type().to_dtype())
    return lambda: model([values])


def noise(shape: list[int], kind: Any) -> Any:
    """Bytes of any shape, as `kind`."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(kind)


def main() -> None:
    """Time all in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("float")
    parser.add_argument("int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=60)
    args = parser.parse_args()
    runs = {
        ("onnxruntime", "float"): in_onnxruntime(args.float, args.threads),
        ("onnxruntime", "int8"): in_onnxruntime(args.int8, args.threads),
        ("onnxruntime", "int8, exact"): in_onnxruntime(args.int8, args.threads, exact=True),
        ("openvino", "float"): in_openvino(args.float, args.threads),
        ("openvino", "int8"): in_openvino(args.int8, args.threads),
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for turn in range(args.runs + 5):
        for key, run in runs.items():
            started = time.perf_counter()
            run()
            if turn >= 5:
                times[key].append(time.perf_counter() - started)
    medians = {key: 1e3 * statistics.median(values) for key, values in times.items()}
    rows = [
        {"engine": engine, "file": file, "ms": round(value, 2), "ratio": round(value / medians[engine, "float"], 3)}
        for (engine, file), value in medians.items()
    ]
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
