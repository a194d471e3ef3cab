"""How a runtime is chosen for a file. Engines are found by name and imported when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import SupportsIndex

from edgessd.errors import OptionError, did_you_mean, missing_extra, printable
from edgessd.model_file.foreign import Labels
from edgessd.model_file.kinds import ENGINES, FILE_KINDS, file_kind
from edgessd.runtimes.base import LoadOptions, Runtime
from edgessd.spec import ModelSpec

RUNTIMES = {
    "onnx": "edgessd.runtimes.onnx:load",
    "litert": "edgessd.runtimes.litert:load",
    "openvino": "edgessd.runtimes.openvino:load",
    "torch": "edgessd.quantization.runtime:load",
}
"""Where the function lies that loads a file into each runtime: (path, LoadOptions) -> Runtime."""


def load_runtime(
    path: str | Path,
    *,
    runtime: str | None = None,
    spec: ModelSpec | None = None,
    threads: int | None = None,
    providers: str | Sequence[str] | None = None,
    labels: Labels | None = None,
) -> Runtime:
    """Load a model file into the runtime for its kind, which is read from its content, not from its name.

    runtime: a key of `RUNTIMES`; None takes the usual one for the kind. threads: of the engine; None is one for each
    core that the process may use (`default_threads`). providers: what the engine runs on, see `OnnxRuntime`,
    `LiteRtRuntime` and `OpenVinoRuntime`; a checkpoint takes one: `cpu`, `cuda`, `mps`, or `cuda-fp16` for half
    precision. spec: for files that carry none. labels: class names for another tool's TFLite detector, see
    `LiteRtRuntime`.
    Raises ModelError for a file that is no model, SpecError for one without a (valid) spec.
    """
    path = Path(path)
    if runtime is not None and runtime not in RUNTIMES:
        known = ", ".join(RUNTIMES)
        raise OptionError(f"unknown runtime {printable(runtime)!r}{did_you_mean(runtime, RUNTIMES)}: use {known}")
    threads = _whole(threads)
    if threads is not None and threads < 1:
        raise OptionError(f"threads must be at least 1, not {threads}")
    if spec is not None and labels is not None:
        raise OptionError("a spec has class names: leave labels out")
    kind = file_kind(path)
    chosen = runtime or ENGINES[kind][0]
    if chosen not in ENGINES[kind]:
        raise OptionError(
            f"{printable(path)} is {FILE_KINDS[kind]}; runtime {runtime!r} cannot load it: leave out --runtime, "
            f"or use {' or '.join(ENGINES[kind])}"
        )
    if labels is not None and kind != "tflite":
        raise OptionError(
            f"{printable(path)}: labels are for TFLite files of other tools that end in TFLite_Detection_PostProcess; "
            "this one needs none, or a whole spec"
        )
    return _loader(chosen)(path, LoadOptions(spec=spec, threads=threads, providers=providers, labels=labels))


def _whole(threads: SupportsIndex | None) -> int | None:
    try:
        return None if threads is None else operator.index(threads)
    except TypeError:
        raise OptionError(f"threads must be a whole number, not {printable(threads, 40)}") from None


def _loader(runtime: str) -> Callable[[Path, LoadOptions], Runtime]:
    try:
        found: Callable[[Path, LoadOptions], Runtime] = resolve_name(RUNTIMES[runtime])
    except ModuleNotFoundError as error:  # of torch or safetensors: the other engines are imported by their classes
        raise missing_extra(error.name or runtime, runtime) from None
    return found
