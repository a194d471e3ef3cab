"""Names, description and spec: what makes a TFLite file of edgessd's describe itself."""

from __future__ import annotations

from edgessd.errors import ModelError
from edgessd.export.tflite_file.editor import Editor, text
from edgessd.model_file.contract import output_shapes
from edgessd.spec import METADATA_KEY, ModelSpec

INPUT_NAME = "image"

# The order of TFLite_Detection_PostProcess's four outputs, as places in the spec's (boxes, scores, labels, count).
OPERATOR_ORDER = (0, 2, 1, 3)

# What pycoral's `get_objects`, and programs that took it over, ask a signature for: the four outputs of a detector
# converted from TensorFlow 2. In the spec's order.
SIGNATURE_KEYS = ("output_3", "output_1", "output_2", "output_0")

_LEVELS = {
    "raw": "raw class logits and box offsets of every prior",
    "decoded": "class scores and box of every prior",
    "nms": "detections: boxes, labels, scores and their number",
}


def describe(data: bytes, spec: ModelSpec) -> bytes:
    """Return the TFLite file with `spec` inside, and inputs and outputs named by it.

    The spec is the metadata entry `edgessd.spec`. The input is called `image`, the outputs as
    `spec.output.names`; the only signature, `serving_default`, has the same names, but at level nms `output_0` to
    `output_3` (number, scores, labels, boxes). Files whose outputs are named `output_0`, `output_1`, ... by the
    converter are put into that order.

    Raises ModelError where the file has not the inputs and outputs that the spec speaks of.
    """
    editor = Editor(data)
    apply(editor, spec)
    return editor.to_bytes()


def apply(editor: Editor, spec: ModelSpec) -> None:
    """Do what `describe` does to a file that is open already."""
    outputs = output_tensors(editor, spec)
    if len(editor.graph.inputs) != 1:
        raise ModelError(f"the TFLite file has {len(editor.graph.inputs)} inputs, a detector has one")
    image = int(editor.graph.inputs[0])
    wanted = spec.input.tensor_shape
    if editor.shape(image)[1:] != wanted:
        raise ModelError(f"the input of the TFLite file has shape {editor.shape(image)}, its spec says (B, {wanted})")
    keys = dict(zip(spec.output.names, SIGNATURE_KEYS, strict=True)) if spec.output.level == "nms" else None
    editor.interface({INPUT_NAME: image}, outputs, keys)
    editor.model.description = f"{spec.name}: {_LEVELS[spec.output.level]}"
    editor.set_metadata(METADATA_KEY, spec.to_json().encode())


def output_tensors(editor: Editor, spec: ModelSpec) -> dict[str, int]:
    """Return the output tensors by the spec's names, in the order in which they stand in the file."""
    places = OPERATOR_ORDER if spec.output.level == "nms" else range(len(spec.output.names))
    names = [spec.output.names[place] for place in places]
    expected = [output_shapes(spec)[place] for place in places]
    found = [int(index) for index in editor.graph.outputs] if spec.output.level == "nms" else _outputs_in_order(editor)
    shapes = [editor.shape(index)[1:] for index in found]
    if shapes != expected:
        raise ModelError(
            f"the outputs of the TFLite file have shapes {shapes} behind the batch, "
            f"its spec says {expected} for {', '.join(names)}"
        )
    return dict(zip(names, found, strict=True))


def _outputs_in_order(editor: Editor) -> list[int]:
    """The output tensors in the order of the network's results, where the converter has numbered them."""
    numbered: dict[int, int] = {}
    for signature in editor.model.signatureDefs or []:
        for entry in signature.outputs or []:
            prefix, _, number = text(entry.name).rpartition("_")
            if prefix == "output" and number.isdigit():
                numbered[int(number)] = int(entry.tensorIndex)
    tensors = [int(index) for index in editor.graph.outputs]
    if sorted(numbered.values()) == sorted(tensors):
        return [numbered[number] for number in sorted(numbered)]
    return tensors
