"""LiteRT (TensorFlow Lite)."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import ModelError, OptionError, SpecError, missing_extra, one_line, printable
from edgessd.model_file.contract import FOREIGN, check_input, check_outputs, to_outputs
from edgessd.model_file.foreign import Labels, foreign_spec, refuse_labels
from edgessd.model_file.readers.facts import Detection, FileFacts
from edgessd.model_file.readers.tflite import read_tflite
from edgessd.model_file.tflite_contract import check_file, output_order
from edgessd.ops.outputs import FinalOutputs, Outputs
from edgessd.runtimes.base import LoadOptions, Runtime
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec

# Where the interpreter comes from: today's package first, then what older installations have.
PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")


class LiteRtRuntime(Runtime):
    """A TFLite file of any precision and level.

    threads: of the interpreter; None is `default_threads`. A file that ends in the class-wise suppression gets one
    where it has more classes than that: with N threads TensorFlow Lite never returns class N (tensorflow#56058).
    providers: `xnnpack` (the interpreter's own choice, also `cpu`), `reference` (its plain kernels, for comparison),
    or paths of delegate libraries, such as `libedgetpu.so.1`; several are applied in this order.
    spec: for a file that carries none. labels: class names for a file without a spec that ends in
    `TFLite_Detection_PostProcess`: a sequence, a text file, or `coco90`.

    A batch is run picture by picture, because TFLite files have a fixed batch of one.
    """

    fixed_batch = 1

    def __init__(
        self,
        path: str | Path,
        *,
        spec: ModelSpec | None = None,
        threads: int | None = None,
        providers: str | Sequence[str] | None = None,
        labels: Labels | None = None,
    ) -> None:
        path = Path(path)
        facts = read_tflite(path)
        if spec is None and facts.spec_text is not None:
            if labels is not None:
                raise refuse_labels(path)
            spec = facts.spec(path)
        self.spec = spec or foreign_spec(path, facts, labels)
        check_file(facts, self.spec, path)
        module = _import()
        threads = threads or default_threads()
        if threads is not None and _loses_a_class(facts.detection, threads):
            threads = 1
        self._interpreter = _interpreter(module, path, threads, providers)
        self._check(facts, path)
        self.name = f"{module.__name__.split('.')[0]} ({', '.join(_as_list(providers)) or 'cpu'})"

    def _check(self, facts: FileFacts, path: Path) -> None:
        """Hold the interpreter's tensors, which have their sizes by now, against the spec."""
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        check_input(self.spec, [each["shape"] for each in inputs], [_dtype(each) for each in inputs], path)
        if inputs[0]["shape"][0] != 1:
            raise SpecError(f"{printable(path)} takes batches of {inputs[0]['shape'][0]}, edgessd runs batches of 1")
        self._input = inputs[0]["index"]
        self._outputs = [outputs[position] for position in output_order(facts, self.spec, path)]
        order = [0, 2, 1, 3] if self.spec.output.level == "nms" else [0, 1]  # locations, classes, scores, count
        check_outputs(self.spec, [self._outputs[position]["shape"] for position in order], path)

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape], picture by picture."""
        answers = [self._one(np.ascontiguousarray(picture)) for picture in batch]
        arrays = [np.concatenate(each) for each in zip(*answers, strict=True)]
        if self.spec.output.level == "nms":
            return _final_outputs(self.spec, arrays)
        return to_outputs(self.spec, arrays)

    def _one(self, picture: NDArray[Any]) -> list[NDArray[Any]]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        answers = [self._interpreter.get_tensor(each["index"]) for each in self._outputs]
        return [_dequantize(answer, each) for answer, each in zip(answers, self._outputs, strict=True)]

    def free(self) -> None:
        """Free the interpreter."""
        del self._interpreter


def load(path: Path, options: LoadOptions) -> LiteRtRuntime:
    """Load a TFLite file for `load_runtime`."""
    return LiteRtRuntime(
        path, spec=options.spec, threads=options.threads, providers=options.providers, labels=options.labels
    )


def _loses_a_class(detection: Detection | None, threads: int) -> bool:
    if detection is None or not detection.options.get("use_regular_nms", 0):
        return False
    return 1 < threads < detection.options.get("num_classes", 0)


def _import() -> Any:
    for name in PACKAGES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise missing_extra("ai-edge-litert", "tflite")


def _as_list(providers: str | Sequence[str] | None) -> list[str]:
    return [providers] if isinstance(providers, str) else list(providers or ())


def _interpreter(module: Any, path: Path, threads: int | None, providers: str | Sequence[str] | None) -> Any:
    options: dict[str, Any] = {"model_path": str(path), "num_threads": threads}
    wanted = _as_list(providers)
    if "reference" in wanted:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    delegates = []
    for name in wanted:
        if name in ("xnnpack", "cpu", "reference"):
            continue
        try:
            ctypes.CDLL(name)  # load_delegate leaves half an object behind where the library is not there
            delegates.append(module.load_delegate(name))
        except (ValueError, OSError, AttributeError) as error:
            raise OptionError(
                f"delegate {printable(name)!r} cannot be loaded ({one_line(error)}): "
                "give xnnpack, reference or the path of a delegate library"
            ) from None
    try:
        interpreter = module.Interpreter(**options, experimental_delegates=delegates or None)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{printable(path)} cannot be loaded by LiteRT: {one_line(error)}") from None
    return interpreter


def _dtype(details: dict[str, Any]) -> str:
    return str(np.dtype(details["dtype"]))


def _dequantize(values: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    """Return an output as float32: integers stand for (q - zero point) * scale, by the tensor's own scale."""
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    scale, zero_point = details["quantization"]
    if values.dtype not in (np.int8, np.uint8, np.int16) or not scale > 0:
        raise SpecError(f"output {printable(details['name'])!r} is {values.dtype} without a scale: {FOREIGN}")
    steps = (values.astype(np.int32) - np.int32(zero_point)).astype(np.float32)
    return steps * np.float32(scale)


def _final_outputs(spec: ModelSpec, arrays: list[NDArray[Any]]) -> FinalOutputs:
    """Turn the operator's (ymin, xmin, ymax, xmax), float classes and float count into final outputs."""
    locations, classes, scores, count = arrays
    outputs = to_outputs(
        spec, [locations[..., [1, 0, 3, 2]], scores, _rounded(classes, -1), _rounded(count.reshape(-1), 0)]
    )
    assert isinstance(outputs, FinalOutputs)
    return outputs


def _rounded(values: NDArray[Any], instead: int) -> NDArray[np.int64]:
    """Round to integers; what is not finite or beyond 2^31 becomes `instead`."""
    good = np.isfinite(values) & (np.abs(values) < 2.0**31)
    rounded: NDArray[np.int64] = np.rint(np.where(good, values, instead)).astype(np.int64)
    return rounded
