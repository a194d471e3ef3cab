"""What a runtime is, and how one is chosen for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import ModelError, OptionError, SpecError, did_you_mean
from edgessd.spec import ModelSpec


class RawOutputs(NamedTuple):
    """Outputs of a raw-level graph, float32: logits [B, P, C + 1] or [B, P, C], offsets [B, P, 4]."""

    logits: NDArray[np.float32]
    offsets: NDArray[np.float32]


class Runtime(Protocol):
    """An engine with one model loaded.

    `thread_safe` says whether several threads may call `run` at once.
    """

    spec: ModelSpec
    name: str
    thread_safe: bool

    def run(self, batch: NDArray[Any]) -> RawOutputs:
        """Run a batch [B, *spec.input.tensor_shape] of spec.input.dtype."""
        ...

    def close(self) -> None:
        """Free the engine. Calling `run` afterwards is an error."""
        ...


def _onnx(path: Path, spec: ModelSpec | None, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(path, spec=spec, **options)


def _torch(path: Path, spec: ModelSpec | None, options: dict[str, Any]) -> Runtime:
    from edgessd.runtimes.torch import TorchRuntime

    if spec is not None:
        raise OptionError("a checkpoint has its own spec: leave out --spec")
    if options.get("providers"):
        raise OptionError("providers are for ONNX files; a checkpoint runs in torch")
    runtime: Runtime = TorchRuntime(path, threads=options.get("threads"))
    return runtime


RUNTIMES: dict[str, Callable[[Path, ModelSpec | None, dict[str, Any]], Runtime]] = {"onnx": _onnx, "torch": _torch}
KINDS = {"onnx": "an ONNX file", "torch": "a safetensors checkpoint", "tflite": "a TFLite file"}


def load_runtime(
    path: str | Path,
    *,
    runtime: str | None = None,
    spec: ModelSpec | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
) -> Runtime:
    """Load a model file into the runtime for its kind, which is read from its content, not from its name.

    runtime: `onnx` or `torch`; None takes the one that fits. threads: of the engine; None leaves
    it to the engine. providers: see `OnnxRuntime`. spec: for files that carry none.
    Raises ModelError for a file that is no model, SpecError for one without a (valid) spec.
    """
    path = Path(path)
    if runtime is not None and runtime not in RUNTIMES:
        raise OptionError(f"unknown runtime {runtime!r}{did_you_mean(runtime, RUNTIMES)}: use {' or '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise OptionError(f"threads must be at least 1, not {threads}")
    kind = file_kind(path)
    if runtime is not None and runtime != kind:
        raise OptionError(f"{path} is {KINDS[kind]}; runtime {runtime!r} cannot load it: leave out --runtime")
    if kind not in RUNTIMES:
        raise ModelError(f"{path} is {KINDS[kind]}, which this version of edgessd does not run: export it as ONNX")
    return RUNTIMES[kind](path, spec, {"threads": threads, "providers": providers})


def file_kind(path: Path) -> str:
    """Return `onnx`, `torch` or `tflite`, from the first bytes of the file. Raises ModelError for anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        size = path.stat().st_size
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file") from None
    except FileNotFoundError:
        raise ModelError(f"no model file {path}: `edgessd models` lists the bundled ones") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    if not size:
        raise ModelError(f"{path} is empty: copy or export the model again")
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "torch"
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise ModelError(f"{path} is a pickled checkpoint, which could run code when opened: use safetensors or ONNX")
    if head[:1] == b"\x08":  # field 1 (ir_version) of an ONNX ModelProto
        return "onnx"
    raise ModelError(f"{path} is not a model file that edgessd knows (ONNX or safetensors)")


def check_outputs(spec: ModelSpec, logits: Sequence[Any], offsets: Sequence[Any], what: object) -> None:
    """Hold a graph's output shapes against the spec. Entries that are not ints are free. Raises SpecError."""
    priors, columns = spec.priors.count, spec.num_logits
    for name, shape, expected in (("logits", logits, (priors, columns)), ("offsets", offsets, (priors, 4))):
        known = tuple(shape[1:])
        if len(shape) != 3 or any(isinstance(n, int) and n != m for n, m in zip(known, expected, strict=True)):
            raise SpecError(
                f"{what}: the graph's {name} have shape {list(shape)}, its spec says [B, {expected[0]}, {expected[1]}] "
                f"({len(spec.classes)} classes, {spec.scores}): the spec does not belong to this file"
            )
