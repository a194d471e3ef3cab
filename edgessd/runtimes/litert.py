"""LiteRT (TensorFlow Lite)."""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import ModelError, OptionError, SpecError, missing_extra, printable
from edgessd.io._quiet import quiet_decoders
from edgessd.ops.outputs import FinalOutputs, Outputs
from edgessd.runtimes.base import Labels
from edgessd.runtimes.contract import FOREIGN, check_input, check_names, check_outputs, check_scale, to_outputs
from edgessd.runtimes.readers.tflite import Detection, TfliteFile, read_tflite
from edgessd.runtimes.stranger import foreign_spec, refuse_labels
from edgessd.spec import ModelSpec

# Where the interpreter comes from: today's package first, then what older installations have.
PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")


class LiteRtRuntime:
    """A TFLite file of any precision and level. One thread at a time may call `run`.

    threads: of the interpreter; None is its default (one). A file that ends in the class-wise suppression gets one
    where it has more classes than that: with N threads TensorFlow Lite never returns class N (tensorflow#56058).
    providers: `xnnpack` (the interpreter's own choice, also `cpu`), `reference` (its plain kernels, for comparison),
    or paths of delegate libraries, such as `libedgetpu.so.1`; several are applied in this order.
    spec: for a file that carries none. labels: class names for a file without a spec that ends in
    `TFLite_Detection_PostProcess`: a sequence, a text file, or `coco90`.

    A batch is run picture by picture, because TFLite files have a fixed batch of one.
    """

    thread_safe = False

    def __init__(
        self,
        path: str | Path,
        *,
        spec: ModelSpec | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        labels: Labels | None = None,
    ) -> None:
        path = Path(path)
        file = read_tflite(path)
        if spec is None and file.facts.spec_text is not None:
            if labels is not None:
                raise refuse_labels(path)
            spec = file.facts.spec(path)
        self.spec = spec or foreign_spec(path, file, labels)
        check_file(file, self.spec, path)
        module = _import()
        if threads is not None and _loses_a_class(file.detection, threads):
            threads = 1
        self._interpreter = _interpreter(module, path, threads, providers)
        self._check(file, path)
        self.name = f"{module.__name__.split('.')[0]} ({', '.join(_as_list(providers)) or 'cpu'})"

    def _check(self, file: TfliteFile, path: Path) -> None:
        """Hold the interpreter's tensors, which have their sizes by now, against the spec."""
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        check_input(self.spec, [each["shape"] for each in inputs], [_dtype(each) for each in inputs], path)
        if inputs[0]["shape"][0] != 1:
            raise SpecError(f"{printable(path)} takes batches of {inputs[0]['shape'][0]}, edgessd runs batches of 1")
        self._input = inputs[0]["index"]
        self._outputs = [outputs[position] for position in output_order(file, self.spec, path)]
        order = [0, 2, 1, 3] if self.spec.output.level == "nms" else [0, 1]  # locations, classes, scores, count
        check_outputs(self.spec, [self._outputs[position]["shape"] for position in order], path)

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape]."""
        if self._interpreter is None:
            raise RuntimeError("the runtime is closed")
        answers = [self._one(np.ascontiguousarray(picture)) for picture in batch]
        arrays = [np.concatenate(each) for each in zip(*answers, strict=True)]
        if self.spec.output.level == "nms":
            return _final(self.spec, arrays)
        return to_outputs(self.spec, arrays)

    def _one(self, picture: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            self._interpreter.set_tensor(self._input, picture[None])
            self._interpreter.invoke()
            answers = [self._interpreter.get_tensor(each["index"]) for each in self._outputs]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model cannot be run: {_one_line(error)}") from None
        return [_real(answer, each) for answer, each in zip(answers, self._outputs, strict=True)]

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def check_file(file: TfliteFile, spec: ModelSpec, path: Path) -> None:
    """Hold what the file itself says of its tensors against the spec. Raises SpecError.

    Sizes that the interpreter finds out only when it prepares the graph are left to it.
    """
    check_image(file, spec, path)
    if spec.output.layout != "standard":
        raise SpecError(f"{printable(path)}: TFLite files have no layout {spec.output.layout}: {FOREIGN}")
    output_order(file, spec, path)
    if file.detection is not None and spec.output.level == "nms":
        check_detection(file.detection, spec, path)


def check_image(file: TfliteFile, spec: ModelSpec, path: Path) -> None:
    """Hold the input tensor and its scale against the spec. Raises SpecError."""
    inputs = file.facts.inputs
    shapes = [("B", None, None, None) if each.shape is None else each.shape for each in inputs]
    check_input(spec, shapes, [each.dtype for each in inputs], path)
    if spec.input.dtype != "float32":
        check_scale(spec, inputs[0].scale or 0.0, inputs[0].zero_point, path)


def _loses_a_class(detection: Detection | None, threads: int) -> bool:
    if detection is None or not detection.options.get("use_regular_nms", 0):
        return False
    return 1 < threads < detection.options.get("num_classes", 0)


def check_detection(detection: Detection, spec: ModelSpec, path: Path) -> str:
    """Hold the operator's options against the spec, and return them in words. Raises SpecError.

    The operator itself reads beyond its inputs where they are wrong.
    """
    classes, limits = len(spec.classes), spec.defaults
    wanted = {
        "num_classes": classes,
        "max_detections": limits.max_detections,
        "nms_iou_threshold": limits.iou_threshold,
        "nms_score_threshold": limits.score_threshold,
    }
    options = detection.options
    for key, value in wanted.items():
        if not abs(options.get(key, math.nan) - value) <= 1e-6 * max(1, abs(value)):
            found = options.get(key, "missing")
            raise SpecError(f"{printable(path)}: {key} of the suppression is {found}, its spec says {value}: {FOREIGN}")
    offsets, scores, anchors = (each.shape or () for each in detection.inputs)
    good = (
        len(offsets) == len(scores) == 3
        and offsets[0] == scores[0] == 1
        and (offsets[1], 4) == (scores[1], offsets[2]) == anchors
        and scores[2] in (classes, classes + 1)
        and 1 <= options.get("max_classes_per_detection", 1) <= classes
        and 0 <= options.get("detections_per_class", 100) <= 100_000
        and all(options.get(f"{side}_scale", 0) > 0 for side in "xywh")
    )
    if not good:
        raise SpecError(
            f"{printable(path)}: the suppression's offsets {list(offsets)}, scores {list(scores)}, anchors "
            f"{list(anchors)} and its options do not belong together"
        )
    return ", ".join(f"{key} {value:g}" for key, value in wanted.items())


def output_order(file: TfliteFile, spec: ModelSpec, path: Path) -> list[int]:
    """Return the positions among the graph's outputs of those that the spec names.

    raw, decoded: found by the name of the tensor or of the signature, or, where those names are not there, by
    shapes that can be nothing else. nms: locations, classes, scores, count, as the detection operator has them.
    Raises SpecError.
    """
    outputs = file.facts.outputs
    if spec.output.level == "nms":
        if file.detection is None:
            raise SpecError(f"{printable(path)} does not end in TFLite_Detection_PostProcess, its spec says level nms")
        return list(file.detection.outputs)
    places = {output.name: place for place, output in enumerate(outputs)}
    names = [file.facts.aliases.get(name, name) for name in spec.output.names]
    if all(name in places for name in names):
        return [places[name] for name in names]
    sizes = [spec.num_logits if spec.output.level == "raw" else len(spec.classes), 4]
    last = [output.shape[-1] if output.shape else None for output in outputs]
    if len(outputs) != 2 or sizes[0] == 4 or sorted(map(str, last)) != sorted(map(str, sizes)):
        check_names(spec, [*places, *file.facts.aliases], path)
    return [last.index(size) for size in sizes]


def _import() -> Any:
    for name in PACKAGES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise missing_extra("ai-edge-litert", "tflite")


def _as_list(providers: Sequence[str] | None) -> list[str]:
    return [providers] if isinstance(providers, str) else list(providers or ())


def _interpreter(module: Any, path: Path, threads: int | None, providers: Sequence[str] | None) -> Any:
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
                f"delegate {printable(name)!r} cannot be loaded ({_one_line(error) or 'no reason given'}): "
                "give xnnpack, reference or the path of a delegate library"
            ) from None
    try:
        with quiet_decoders():
            interpreter = module.Interpreter(**options, experimental_delegates=delegates or None)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{printable(path)} cannot be loaded by LiteRT: {_one_line(error)}") from None
    return interpreter


def _dtype(details: dict[str, Any]) -> str:
    return str(np.dtype(details["dtype"]))


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    """Return an output as float32: integers stand for (q - zero point) * scale, by the tensor's own scale."""
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    scale, zero_point = details["quantization"]
    if values.dtype not in (np.int8, np.uint8, np.int16) or not scale > 0:
        raise SpecError(f"output {printable(details['name'])!r} is {values.dtype} without a scale: {FOREIGN}")
    real: NDArray[Any] = (values.astype(np.int32) - np.int32(zero_point)).astype(np.float32) * np.float32(scale)
    return real


def _final(spec: ModelSpec, arrays: list[NDArray[Any]]) -> FinalOutputs:
    """Turn the operator's (ymin, xmin, ymax, xmax), float classes and float count into final outputs."""
    locations, classes, scores, count = arrays
    outputs = to_outputs(
        spec, [locations[..., [1, 0, 3, 2]], scores, _whole(classes, -1), _whole(count.reshape(-1), 0)]
    )
    assert isinstance(outputs, FinalOutputs)
    return outputs


def _whole(values: NDArray[Any], instead: int) -> NDArray[np.int64]:
    """Round to integers; what is not finite or beyond 2^31 becomes `instead`."""
    good = np.isfinite(values) & (np.abs(values) < 2.0**31)
    whole: NDArray[np.int64] = np.rint(np.where(good, values, instead)).astype(np.int64)
    return whole


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
