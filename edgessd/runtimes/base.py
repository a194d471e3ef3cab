"""What a runtime is, and how one is chosen for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgessd.errors import EdgeSSDError, ModelError, OptionError, did_you_mean, printable
from edgessd.ops.outputs import DecodedOutputs, FinalOutputs, Outputs, RawOutputs
from edgessd.runtimes.kinds import KINDS, file_kind
from edgessd.runtimes.readers.facts import FileFacts
from edgessd.runtimes.readers.onnx import read_onnx
from edgessd.spec import ModelSpec

__all__ = [
    "ENGINES",
    "KINDS",
    "RUNTIMES",
    "DecodedOutputs",
    "FinalOutputs",
    "Outputs",
    "RawOutputs",
    "Runtime",
    "file_kind",
    "load_runtime",
]

Labels = str | Path | Sequence[str]


class Runtime(Protocol):
    """An engine with one model loaded.

    `thread_safe` says whether several threads may call `run` at once.
    """

    spec: ModelSpec
    name: str
    thread_safe: bool

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape] of spec.input.dtype; the kind of outputs is the spec's level."""
        ...

    def close(self) -> None:
        """Free the engine. Calling `run` afterwards is an error."""
        ...


def _onnx(path: Path, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.onnx import OnnxRuntime

    options = _without_labels(path, options)
    try:
        return OnnxRuntime(path, **options)
    except ModelError:
        facts = _opencv_facts(path, options["spec"])
        if facts is None:
            raise
    if options["providers"]:
        raise OptionError(f"{printable(path)} is of layout opencv, which has no providers: leave them out")
    from edgessd.runtimes.opencv import OpenCvRuntime

    return OpenCvRuntime(path, facts, spec=options["spec"], threads=options["threads"])


def _opencv_facts(path: Path, spec: ModelSpec | None) -> FileFacts | None:
    """What is in a file that onnxruntime cannot load, where it is of layout opencv."""
    try:
        facts = read_onnx(path)
        spec = spec or facts.spec(path)
    except EdgeSSDError:
        return None
    return facts if spec.output.layout == "opencv" else None


def _litert(path: Path, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.litert import LiteRtRuntime

    return LiteRtRuntime(path, **options)


def _openvino(path: Path, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.openvino import OpenVinoRuntime

    return OpenVinoRuntime(path, **_without_labels(path, options))


def _torch(path: Path, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.torch import TorchRuntime

    options = _without_labels(path, options)
    if options["spec"] is not None:
        raise OptionError("a checkpoint has its own spec: leave out --spec")
    providers = [options["providers"]] if isinstance(options["providers"], str) else list(options["providers"] or ())
    if len(providers) > 1:
        raise OptionError(f"a checkpoint runs on one device, not on {len(providers)}: use cpu, cuda, cuda-fp16 or mps")
    device, _, precision = (providers[0] if providers else "").partition("-")
    if precision not in ("", "fp16"):
        raise OptionError(f"torch has no provider {printable(providers[0])!r}: use cpu, cuda, cuda-fp16 or mps")
    return TorchRuntime(path, device or None, options["threads"], half=precision == "fp16")


def _without_labels(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    if options["labels"] is not None:
        raise OptionError(
            f"{printable(path)}: labels are for TFLite files of other tools that end in TFLite_Detection_PostProcess; "
            "this one needs none, or a whole spec"
        )
    return {key: value for key, value in options.items() if key != "labels"}


RUNTIMES: dict[str, Callable[[Path, dict[str, Any]], Runtime]] = {
    "onnx": _onnx,
    "litert": _litert,
    "openvino": _openvino,
    "torch": _torch,
}
ENGINES = {"onnx": ("onnx", "openvino"), "tflite": ("litert",), "openvino": ("openvino",), "torch": ("torch",)}
"""Which runtimes load each kind of file, the usual one first."""


def load_runtime(
    path: str | Path,
    *,
    runtime: str | None = None,
    spec: ModelSpec | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    labels: Labels | None = None,
) -> Runtime:
    """Load a model file into the runtime for its kind, which is read from its content, not from its name.

    runtime: a key of `RUNTIMES`; None takes the usual one for the kind. threads: of the engine; None leaves
    it to the engine. providers: what the engine runs on, see `OnnxRuntime`, `LiteRtRuntime` and
    `OpenVinoRuntime`; a checkpoint takes one: `cpu`, `cuda`, `mps`, or `cuda-fp16` for half precision. spec: for
    files that carry none. labels: class names for another tool's TFLite detector, see `LiteRtRuntime`.
    Raises ModelError for a file that is no model, SpecError for one without a (valid) spec.
    """
    path = Path(path)
    if runtime is not None and runtime not in RUNTIMES:
        known = ", ".join(RUNTIMES)
        raise OptionError(f"unknown runtime {printable(runtime)!r}{did_you_mean(runtime, RUNTIMES)}: use {known}")
    if threads is not None and threads < 1:
        raise OptionError(f"threads must be at least 1, not {threads}")
    if spec is not None and labels is not None:
        raise OptionError("a spec has class names: leave labels out")
    kind = file_kind(path)
    chosen = runtime or ENGINES[kind][0]
    if chosen not in ENGINES[kind]:
        raise OptionError(
            f"{printable(path)} is {KINDS[kind]}; runtime {runtime!r} cannot load it: leave out --runtime, "
            f"or use {' or '.join(ENGINES[kind])}"
        )
    return RUNTIMES[chosen](path, {"spec": spec, "threads": threads, "providers": providers, "labels": labels})
