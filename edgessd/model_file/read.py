"""What a model file of any kind says about itself, without running it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgessd._text import decode
from edgessd.errors import OptionError, SpecError, printable
from edgessd.model_file.contract import check_names, check_outputs
from edgessd.model_file.foreign import Labels, foreign_spec, refuse_labels
from edgessd.model_file.kinds import file_kind
from edgessd.model_file.readers.facts import FileFacts, TensorFact, no_spec
from edgessd.model_file.readers.onnx import read_onnx
from edgessd.model_file.readers.openvino import read_openvino
from edgessd.model_file.readers.safetensors import read_safetensors
from edgessd.model_file.readers.tflite import read_tflite
from edgessd.model_file.tflite_contract import output_order
from edgessd.spec import ModelSpec

READERS: dict[str, Callable[[str | Path], FileFacts]] = {
    "onnx": read_onnx,
    "tflite": read_tflite,
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
        return foreign_spec(path, facts, labels)
    raise no_spec(path)


def read_outputs(path: str | Path) -> tuple[ModelSpec, list[int], list[TensorFact]]:
    """Return the spec of a graph, and the outputs that it names: their positions in the file, and what they are.

    Raises ModelError for a file that cannot be read, SpecError where the outputs are not those of the spec.
    """
    path = Path(path)
    facts = read_facts(path)
    spec = facts.spec(path)
    places = output_places(path, spec, facts)
    chosen = [facts.outputs[place] for place in places]
    if spec.output.level != "nms":  # in TFLite the sizes of those are only known to the engine
        check_outputs(spec, [known_shape(each) for each in chosen], path)
    return spec, places, chosen


def read_spec_json(path: str | Path) -> ModelSpec:
    """Read a spec from a JSON file. Raises OptionError where it cannot be read, SpecError where it is no spec."""
    try:
        return ModelSpec.from_json(decode(Path(path).read_bytes()).encode())
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise OptionError(f"spec file {printable(path)} cannot be read: {reason}") from None


def output_places(path: Path, spec: ModelSpec, facts: FileFacts) -> list[int]:
    """Return the positions among the outputs of those that the spec names. Raises SpecError where one is missing."""
    if facts.kind == "tflite":
        return output_order(facts, spec, path)
    places = {each.name: place for place, each in enumerate(facts.outputs)}
    check_names(spec, [*places, *facts.aliases], path)
    return [places[facts.aliases.get(name, name)] for name in spec.output.names]


def describe(tensor: TensorFact) -> str:
    """Return a tensor in words, such as `image float32 [B, 3, 300, 300]`."""
    shape = "[?]" if tensor.shape is None else f"[{', '.join('B' if n is None else str(n) for n in tensor.shape)}]"
    scale = "" if tensor.scale is None else f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{printable(tensor.name, 60)} {tensor.dtype} {printable(shape, 80)}{scale}"


def known_shape(tensor: TensorFact) -> tuple[int | str, ...]:
    """Return the shape with "B" for free sizes. Raises SpecError where the file does not say it."""
    if tensor.shape is None:
        raise SpecError(f"the file does not say the shape of {printable(tensor.name, 60)!r}")
    return tuple("B" if size is None else size for size in tensor.shape)
