"""Whether a model file keeps to docs/model-file.md, as far as can be said without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edgessd.errors import DependencyError, EdgeSSDError, SpecError
from edgessd.model_file.contract import check_input, check_outputs
from edgessd.model_file.kinds import FILE_KINDS, file_kind
from edgessd.model_file.read import READERS, describe, known_shape, output_places
from edgessd.model_file.readers.facts import FileFacts
from edgessd.model_file.readers.openvino import weights_path
from edgessd.model_file.readers.tflite import DETECTION
from edgessd.model_file.tflite_contract import check_detection, check_image
from edgessd.spec import ModelSpec


class Check(NamedTuple):
    """One line of a validation: what was held against the contract, whether it does (None: not checked), and why."""

    name: str
    passed: bool | None
    text: str


def check_model_file(path: str | Path) -> list[Check]:
    """Hold what a model file says of itself against docs/model-file.md; `validation.validate` runs it as well.

    A file whose spec cannot be read gets no further checks. Raises ModelError only for a file that cannot be read at
    all.
    """
    path = Path(path)
    kind = file_kind(path)
    checks: list[Check] = []
    try:
        facts = READERS[kind](path)
        checks.append(Check("structure", True, f"{FILE_KINDS[kind]}, {path.stat().st_size:,} bytes"))
        spec = facts.spec(path)
        checks.append(Check("spec", True, f"{spec.name}, schema {spec.schema}, level {spec.output.words}"))
    except EdgeSSDError as error:
        return [*checks, Check("spec" if checks else "structure", False, str(error))]
    steps = _graph_steps(path, spec, facts) if kind != "torch" else _checkpoint_steps(spec)
    return [*checks, *(attempt(name, step) for name, step in steps)]


def attempt(name: str, step: Callable[[], str]) -> Check:
    """Take one step, which returns what was found or raises an EdgeSSDError, and return its line."""
    try:
        return Check(name, True, step())
    except DependencyError as error:
        return Check(name, None, f"not checked: {error}")
    except EdgeSSDError as error:
        return Check(name, False, str(error))


Step = tuple[str, Callable[[], str]]


def _graph_steps(path: Path, spec: ModelSpec, facts: FileFacts) -> Iterator[Step]:
    yield "input", lambda: _input(path, spec, facts)
    yield "outputs", lambda: _outputs(path, spec, facts)
    detection = facts.detection
    if detection is not None and spec.output.level == "nms":
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


def _input(path: Path, spec: ModelSpec, facts: FileFacts) -> str:
    if facts.kind == "tflite":
        check_image(facts, spec, path)  # with the scale
    else:
        check_input(spec, [known_shape(each) for each in facts.inputs], [each.dtype for each in facts.inputs], path)
    return describe(facts.inputs[0])


def _outputs(path: Path, spec: ModelSpec, facts: FileFacts) -> str:
    places = output_places(path, spec, facts)
    if facts.kind == "tflite" and spec.output.level == "nms":
        return "four, of " + DETECTION  # their sizes are only known to the engine
    chosen = [facts.outputs[place] for place in places]
    check_outputs(spec, [known_shape(each) for each in chosen], path)
    return f"{spec.priors.count} priors: " + ", ".join(map(describe, chosen))


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
