"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgessd._onnxruntime import import_onnxruntime
from edgessd.errors import ModelError, OptionError, printable
from edgessd.model_file.contract import check_batch, check_input, check_names, check_outputs, to_outputs
from edgessd.model_file.readers.facts import FileFacts
from edgessd.model_file.readers.onnx import read_onnx
from edgessd.ops.outputs import Outputs
from edgessd.runtimes._saturation import needs_exact
from edgessd.runtimes.base import LoadOptions, Runtime
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec

# Short names, in the order of preference. TensorRT is taken only when it is asked for: it builds
# an engine for minutes at the first run, and the GPU wheel lists it even where it cannot start.
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": "CPUExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
AUTOMATIC = ("cuda", "coreml", "xnnpack", "cpu")
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class OnnxRuntime(Runtime):
    """An ONNX file of any precision and level in onnxruntime. Several threads may call `run` at once.

    threads: intra-op threads; None is `default_threads`.
    providers: names such as `cuda` or `cpu`, tried in this order; None takes the best present.
    allow_spinning: whether idle threads wait busily: a little faster, and a core warmer.
    spec: for a file that carries none. facts: of the file, where it was read already.
    """

    thread_safe = True

    def __init__(
        self,
        path: str | Path,
        *,
        spec: ModelSpec | None = None,
        facts: FileFacts | None = None,
        threads: int | None = None,
        providers: str | Sequence[str] | None = None,
        allow_spinning: bool = True,
    ) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or default_threads() or 0
        if not allow_spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        chosen = choose_providers(providers, onnxruntime.get_available_providers())
        self.spec = spec or (facts or read_onnx(path)).spec(path)
        if needs_exact(self.spec, given=spec is not None):
            options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = _open(path, options, chosen)
        self.name = f"onnxruntime ({self._session.get_providers()[0].removesuffix('ExecutionProvider').lower()})"
        self._check(path)

    def _check(self, path: str | Path) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        types = [TYPES.get(each.type, each.type.removeprefix("tensor(").removesuffix(")")) for each in inputs]
        check_input(self.spec, [each.shape for each in inputs], types, path)
        shapes = {output.name: output.shape for output in outputs}
        check_names(self.spec, list(shapes), path)
        self._outputs = list(self.spec.output.names)
        check_outputs(self.spec, [shapes[name] for name in self._outputs], path)
        self._input = inputs[0].name
        batch = inputs[0].shape[0]
        self.fixed_batch = batch if isinstance(batch, int) else None

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape]."""
        check_batch(self.fixed_batch, len(batch))
        return to_outputs(self.spec, self._session.run(self._outputs, {self._input: batch}))

    def free(self) -> None:
        """Free the session."""
        del self._session

    def reason(self, error: Exception) -> str:
        """What onnxruntime says, without its codes."""
        return _first_line(error)


def load(path: Path, options: LoadOptions) -> Runtime:
    """Load an ONNX file for `load_runtime`: one of layout opencv into OpenCV's engine, all others into onnxruntime."""
    facts = read_onnx(path) if options.spec is None or options.spec.output.layout == "opencv" else None
    spec = options.spec or (facts.spec(path) if facts is not None else None)
    if facts is None or spec is None or spec.output.layout != "opencv":
        return OnnxRuntime(path, spec=options.spec, facts=facts, threads=options.threads, providers=options.providers)
    if options.providers:
        raise OptionError(f"{printable(path)} is of layout opencv, which has no providers: leave them out")
    from edgessd.runtimes.opencv import OpenCvRuntime

    return OpenCvRuntime(path, facts, spec=options.spec, threads=options.threads)


def _open(path: str | Path, options: Any, providers: list[str]) -> Any:
    try:
        return import_onnxruntime().InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen types of its own, all of them plain Exceptions
        raise ModelError(f"{printable(path)} cannot be loaded by onnxruntime: {_first_line(error)}") from None


def choose_providers(wanted: str | Sequence[str] | None, available: Sequence[str]) -> list[str]:
    """Full provider names for the wanted short (or full) ones; the CPU always comes last as a fallback."""
    if wanted is None:
        names = [PROVIDERS[name] for name in AUTOMATIC]
        return [name for name in names if name in available]
    chosen = []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        full = PROVIDERS.get(name.lower(), name)
        if full not in available:
            raise OptionError(f"provider {name!r} is not in this onnxruntime, which has {', '.join(available)}")
        chosen.append(full)
    return list(dict.fromkeys([*chosen, PROVIDERS["cpu"]]))


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return printable(text.split(" : ", 2)[-1])
