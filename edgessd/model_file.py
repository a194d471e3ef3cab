"""What a model file says about itself, without running it, and whether it keeps to docs/model-file.md.

Nothing here needs the engine of the file's format, except the last check of `validate`, which is left out
where the engine is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgessd.errors import DependencyError, EdgeSSDError, SpecError, printable
from edgessd.ops.outputs import FinalOutputs
from edgessd.runtimes.base import ENGINES, Labels, load_runtime
from edgessd.runtimes.contract import check_input, check_names, check_outputs
from edgessd.runtimes.kinds import KINDS, file_kind
from edgessd.runtimes.litert import check_detection, check_image, output_order
from edgessd.runtimes.readers.facts import FileFacts, no_spec
from edgessd.runtimes.readers.facts import TensorFact as TensorFact  # told of outputs, so found here as well
from edgessd.runtimes.readers.onnx import read_onnx
from edgessd.runtimes.readers.openvino import read_openvino, weights_path
from edgessd.runtimes.readers.safetensors import read_safetensors
from edgessd.runtimes.readers.tflite import DETECTION, TfliteFile, read_tflite
from edgessd.runtimes.stranger import foreign_spec, refuse_labels
from edgessd.spec import ModelSpec

READERS: dict[str, Callable[[str | Path], FileFacts]] = {
    "onnx": read_onnx,
    "tflite": lambda path: read_tflite(path).facts,
    "openvino": read_openvino,
    "torch": read_safetensors,
}


def read_facts(path: str | Path) -> FileFacts:
    """Return what a model file of any kind says about itself. Raises ModelError."""
    return READERS[file_kind(Path(path))](path)


def read_spec(path: str | Path, labels: Labels | None = None) -> ModelSpec:
    """Return the spec of a model file of any kind; with labels, that of another tool's TFLite detector.

    Raises ModelError for a file that cannot be read, SpecError for one without a (valid) spec, OptionError for
    labels that do not fit.
    """
    path = Path(path)
    facts = read_facts(path)
    if facts.spec_text is not None:
        if labels is not None:
            raise refuse_labels(path)
        return facts.spec(path)
    if facts.kind == "tflite":
        return foreign_spec(path, read_tflite(path), labels)
    raise no_spec(path)


def runtimes_for(path: str | Path) -> tuple[str, ...]:
    """Return the runtimes that load this kind of file, the usual one first. Raises ModelError."""
    return ENGINES[file_kind(Path(path))]


def read_outputs(path: str | Path) -> tuple[ModelSpec, list[int], list[TensorFact]]:
    """Return the spec of a graph, and the outputs that it names: their positions in the file, and what they are.

    Raises ModelError for a file that cannot be read, SpecError where the outputs are not those of the spec.
    """
    path = Path(path)
    facts = read_facts(path)
    spec = facts.spec(path)
    places = (
        output_order(read_tflite(path), spec, path) if facts.kind == "tflite" else _named_outputs(path, spec, facts)
    )
    chosen = [facts.outputs[place] for place in places]
    if spec.output.level != "nms":  # in TFLite the sizes of those are only known to the engine
        check_outputs(spec, [_shape(each) for each in chosen], path)
    return spec, places, chosen


class Check(NamedTuple):
    """One line of a validation: what was held against the contract, whether it does (None: not checked), and why."""

    name: str
    passed: bool | None
    text: str


def validate(path: str | Path) -> list[Check]:
    """Hold a model file against docs/model-file.md. Raises ModelError only for a file that cannot be read at all.

    A file whose spec cannot be read gets no further checks.
    """
    path = Path(path)
    kind = file_kind(path)
    checks: list[Check] = []
    tflite: TfliteFile | None = None
    try:
        if kind == "tflite":
            tflite = read_tflite(path)
        facts = tflite.facts if tflite is not None else READERS[kind](path)
        checks.append(Check("structure", True, f"{KINDS[kind]}, {path.stat().st_size:,} bytes"))
        spec = facts.spec(path)
        checks.append(Check("spec", True, f"{spec.name}, schema {spec.schema}, level {spec.output.words}"))
    except EdgeSSDError as error:
        return [*checks, Check("spec" if checks else "structure", False, str(error))]
    steps = _graph_steps(path, spec, facts, tflite) if kind != "torch" else _checkpoint_steps(spec)
    for name, step in (*steps, ("run", lambda: _run(path, spec))):
        try:
            checks.append(Check(name, True, step()))
        except DependencyError as error:
            checks.append(Check(name, None, f"not checked: {error}"))
        except EdgeSSDError as error:
            checks.append(Check(name, False, str(error)))
    return checks


Step = tuple[str, Callable[[], str]]


def _graph_steps(path: Path, spec: ModelSpec, facts: FileFacts, tflite: TfliteFile | None) -> Iterator[Step]:
    yield "input", lambda: _input(path, spec, facts, tflite)
    yield "outputs", lambda: _outputs(path, spec, facts, tflite)
    if tflite is not None and tflite.detection is not None and spec.output.level == "nms":
        detection = tflite.detection
        yield "suppression", lambda: check_detection(detection, spec, path)
    if facts.kind == "openvino":
        yield "weights", lambda: weights_path(path).name
    yield "labels", lambda: _labels(spec, facts)
    yield "precision", lambda: _precision(spec, facts)


def _checkpoint_steps(spec: ModelSpec) -> Iterator[Step]:
    def level() -> str:
        if spec.output.level != "raw" or spec.architecture is None:
            raise SpecError("a checkpoint has level raw and says its architecture")
        return f"raw, {spec.architecture.head} on {spec.architecture.backbone}"

    yield "level", level


def _input(path: Path, spec: ModelSpec, facts: FileFacts, tflite: TfliteFile | None) -> str:
    if tflite is not None:
        check_image(tflite, spec, path)  # with the scale
    else:
        check_input(spec, [_shape(each) for each in facts.inputs], [each.dtype for each in facts.inputs], path)
    return describe(facts.inputs[0])


def _outputs(path: Path, spec: ModelSpec, facts: FileFacts, tflite: TfliteFile | None) -> str:
    if tflite is not None:
        order = output_order(tflite, spec, path)
        if spec.output.level == "nms":
            return "four, of " + DETECTION  # their sizes are only known to the engine
        chosen = [facts.outputs[place] for place in order]
        check_outputs(spec, [_shape(each) for each in chosen], path)
        return f"{spec.priors.count} priors: " + ", ".join(map(describe, chosen))
    chosen = [facts.outputs[place] for place in _named_outputs(path, spec, facts)]
    check_outputs(spec, [_shape(each) for each in chosen], path)
    return f"{spec.priors.count} priors: " + ", ".join(map(describe, chosen))


def _named_outputs(path: Path, spec: ModelSpec, facts: FileFacts) -> list[int]:
    """Return the positions among the outputs of those that the spec names."""
    places = {each.name: place for place, each in enumerate(facts.outputs)}
    check_names(spec, [*places, *facts.aliases], path)
    return [places[facts.aliases.get(name, name)] for name in spec.output.names]


def _labels(spec: ModelSpec, facts: FileFacts) -> str:
    expected = spec.classes
    if facts.kind == "openvino":  # one line of names with spaces between them
        expected = tuple(name.replace(" ", "_") for name in spec.classes)
    if facts.labels is None and facts.kind == "tflite" and spec.output.level != "nms":
        return f"none but the spec's, which is enough at level {spec.output.level}"
    if facts.labels is None:
        raise SpecError(f"no class names in {facts.labels_at}")
    if facts.labels != expected:
        raise SpecError(f"{len(facts.labels)} class names in {facts.labels_at} differ from the spec's {len(expected)}")
    return f"{len(expected)} class names in {facts.labels_at}"


def _precision(spec: ModelSpec, facts: FileFacts) -> str:
    integer = bool({"int8", "uint8", "int4", "uint4"} & facts.weights)
    half = "float16" in facts.weights
    found = "int8" if integer else "fp16" if half else "fp32"
    if spec.precision != found:
        raise SpecError(f"the spec says {spec.precision}, the file's weights are {found}")
    if integer != (spec.quantization is not None):
        raise SpecError("integer weights and the spec's block `quantization` belong together")
    return found


def _run(path: Path, spec: ModelSpec) -> str:
    """Run one grey picture, which shows what only the engine knows."""
    runtime = load_runtime(path, threads=1)
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


def describe(tensor: TensorFact) -> str:
    """Return a tensor in words, such as `image float32 [B, 3, 300, 300]`."""
    shape = "[?]" if tensor.shape is None else f"[{', '.join('B' if n is None else str(n) for n in tensor.shape)}]"
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{printable(tensor.name, 60)} {tensor.dtype} {printable(shape, 80)}{scale}"


def _shape(tensor: TensorFact) -> tuple[int | str, ...]:
    if tensor.shape is None:
        raise SpecError(f"the file does not say the shape of {printable(tensor.name, 60)!r}")
    return tuple("B" if size is None else size for size in tensor.shape)
