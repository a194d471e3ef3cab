import io
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgessd.errors import ModelError
from edgessd.export.tflite_file import describe
from edgessd.export.tflite_file.editor import Editor, attached_files, schema, text
from edgessd.spec import METADATA_KEY, ModelSpec, PriorLevel, PriorSpec


def spec_inside(data):
    editor = Editor(data)
    (buffer,) = [entry.buffer for entry in editor.model.metadata if text(entry.name) == METADATA_KEY]
    return ModelSpec.from_json(bytes(editor.model.buffers[buffer].data))


def test_the_spec_and_the_names_are_in_the_file(make_spec, make_raw, outputs):
    spec = make_spec()
    data = describe(make_raw(spec, *outputs(spec)), spec)
    assert spec_inside(data) == spec
    engine = Interpreter(model_content=data)
    assert [detail["name"] for detail in engine.get_input_details()] == ["image"]
    assert [detail["name"] for detail in engine.get_output_details()] == ["logits", "offsets"]
    assert engine.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["logits", "offsets"]}}
    assert text(Editor(data).model.description) == "tiny: raw class logits and box offsets of every prior"


def test_numbered_outputs_are_put_in_the_networks_order(make_spec, make_raw, outputs, run):
    spec = make_spec()
    logits, offsets = outputs(spec)
    editor = Editor(make_raw(spec, logits, offsets))
    editor.graph.outputs = editor.graph.outputs[::-1]
    editor.model.signatureDefs[0].outputs.reverse()
    data = describe(editor.to_bytes(), spec)
    assert list(Editor(data).outputs()) == ["logits", "offsets"]
    found = run(data, np.zeros((1, 4, 4, 3), np.float32))
    np.testing.assert_array_equal(found["logits"], logits)
    np.testing.assert_array_equal(found["offsets"], offsets)


def test_a_second_description_takes_the_place_of_the_first(make_spec, make_raw, outputs):
    first, second = make_spec(), make_spec(name="other")
    once = describe(make_raw(first, *outputs(first)), first)
    twice = describe(once, second)
    assert spec_inside(twice) == second
    assert len(Editor(twice).model.buffers) == len(Editor(once).model.buffers)
    assert describe(twice, second) == twice


def test_attached_files_stay(make_spec, make_raw, outputs):
    spec = make_spec()
    editor = Editor(make_raw(spec, *outputs(spec)))
    editor.attached["labels.txt"] = b"one\n"
    data = describe(editor.to_bytes(), spec)
    assert attached_files(data) == {"labels.txt": b"one\n"}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (entry,) = archive.infolist()
        assert data[entry.header_offset :].startswith(b"PK\x03\x04")  # counted from the beginning of the file
        assert entry.compress_type == zipfile.ZIP_STORED
    assert spec_inside(data) == spec


def test_weights_are_aligned(make_spec, make_raw, outputs):
    spec = make_spec()
    data = describe(make_raw(spec, *outputs(spec)), spec)
    model = schema.Model.GetRootAs(bytearray(data), 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    places = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()]
    assert len(places) > 2
    assert {place % 16 for place in places} == {0}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("a", "b")}, "outputs of the TFLite file have shapes"),
        ({"priors": PriorSpec(levels=(PriorLevel(rows=1, columns=1, boxes=((1.0, 1.0),)),))}, "outputs of the TFLite"),
    ],
)
def test_a_spec_of_another_network(make_spec, make_raw, outputs, changed, message):
    data = make_raw(make_spec(), *outputs(make_spec()))
    with pytest.raises(ModelError, match=message) as caught:
        describe(data, make_spec(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 not a TFLite file", b"\x10\x00\x00\x00TFL3", b"\xff" * 4 + b"TFL3" * 9]
)
def test_bytes_that_are_no_file(make_spec, data):
    with pytest.raises(ModelError, match="TFLite file"):
        describe(data, make_spec())
