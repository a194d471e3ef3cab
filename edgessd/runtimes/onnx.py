"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import DependencyError, ModelError, OptionError, SpecError
from edgessd.runtimes.base import RawOutputs, check_outputs
from edgessd.spec import METADATA_KEY, ModelSpec

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
TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int8": "tensor(int8)"}


class OnnxRuntime:
    """A raw-level ONNX file in onnxruntime. Several threads may call `run` at once.

    threads: intra-op threads; None is onnxruntime's default (the physical cores).
    providers: names such as `cuda` or `cpu`, tried in this order; None takes the best present.
    allow_spinning: whether idle threads wait busily: a little faster, and a core warmer.
    spec: for a file that carries none.
    """

    thread_safe = True

    def __init__(
        self,
        path: str | Path,
        *,
        spec: ModelSpec | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        allow_spinning: bool = True,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise DependencyError(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # On x86 without VNNI, onnxruntime's kernel for uint8 activations and int8 weights saturates its
        # 16-bit sums, which ruins a detector (COCO AP 1.4 instead of 30). This makes it take an exact
        # one there; other processors are not concerned.
        options.add_session_config_entry("session.x64quantprecision", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        if not allow_spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        chosen = choose_providers(providers, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:  # onnxruntime raises a dozen types of its own, all of them plain Exceptions
            raise ModelError(f"{path} cannot be loaded by onnxruntime: {_first_line(error)}") from None
        self.spec = spec or self._embedded_spec(path)
        self.name = f"onnxruntime ({self._session.get_providers()[0].removesuffix('ExecutionProvider').lower()})"
        self._check(path)

    def _embedded_spec(self, path: str | Path) -> ModelSpec:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise SpecError(
                f"{path} carries no edgessd spec (it was made by another tool): describe it in a JSON file and "
                "pass --spec FILE, or spec= in Python; `edgessd info MODEL --json` shows one of a bundled model"
            )
        return ModelSpec.from_json(text)

    def _check(self, path: str | Path) -> None:
        spec, inputs = self.spec, self._session.get_inputs()
        if spec.output.level != "raw":
            raise ModelError(f"{path} has level {spec.output.level!r}; this version of edgessd runs level 'raw'")
        wanted = spec.input.tensor_shape
        shape = tuple(inputs[0].shape)
        fits = len(shape) == 4 and all(not isinstance(n, int) or n == m for n, m in zip(shape[1:], wanted, strict=True))
        if len(inputs) != 1 or not fits or inputs[0].type != TYPES[spec.input.dtype]:
            raise SpecError(
                f"{path}: the graph takes {[(i.type, i.shape) for i in inputs]}, its spec says one "
                f"{spec.input.dtype} input [B, {', '.join(map(str, wanted))}]: the spec does not belong to this file"
            )
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        missing = [name for name in spec.output.names if name not in outputs]
        if missing or len(spec.output.names) != 2:
            raise SpecError(f"{path}: the spec names the outputs {spec.output.names}, the graph has {tuple(outputs)}")
        check_outputs(spec, outputs[spec.output.names[0]], outputs[spec.output.names[1]], path)
        self._input = inputs[0].name
        self._outputs = list(spec.output.names)
        self._batch = shape[0] if isinstance(shape[0], int) else None

    def run(self, batch: NDArray[Any]) -> RawOutputs:
        """Run a batch [B, *spec.input.tensor_shape]."""
        if self._batch is not None and len(batch) != self._batch:
            raise OptionError(f"the model was exported for batches of {self._batch}, not {len(batch)}")
        logits, offsets = self._session.run(self._outputs, {self._input: batch})
        check_outputs(self.spec, logits.shape, offsets.shape, "the model")
        return RawOutputs(np.asarray(logits, np.float32), np.asarray(offsets, np.float32))

    def close(self) -> None:
        """Free the session."""
        del self._session


def choose_providers(wanted: Sequence[str] | None, available: Sequence[str]) -> list[str]:
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
    return text.split(" : ", 2)[-1][:200]
