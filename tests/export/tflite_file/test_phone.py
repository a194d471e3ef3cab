import io
import zipfile

import flatbuffers
import msgspec
import numpy as np
import pytest
from flatbuffers.table import Table as Raw

from edgessd.export.tflite_file import add_phone_metadata, append_detection_postprocess, describe
from edgessd.export.tflite_file.editor import Editor, attached_files, text
from edgessd.export.tflite_file.metadata_table import Table
from edgessd.spec import OutputSpec

NUMBERS = flatbuffers.number_types


class Read:
    """A table of a flatbuffer, read by the number of its fields as they stand in the published schema."""

    def __init__(self, data, place):
        self.table = Raw(data, place)

    @classmethod
    def root(cls, data):
        return cls(bytearray(data), int.from_bytes(data[:4], "little"))

    def _place(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        return offset and offset + self.table.Pos

    def sub(self, slot):
        place = self._place(slot)
        return Read(self.table.Bytes, self.table.Indirect(place)) if place else None

    def text(self, slot):
        place = self._place(slot)
        return self.table.String(place).decode() if place else None

    def byte(self, slot):
        return self.table.Get(NUMBERS.Uint8Flags, self._place(slot)) if self._place(slot) else 0

    def uint(self, slot):
        return self.table.Get(NUMBERS.Uint32Flags, self._place(slot)) if self._place(slot) else 0

    def vector(self, slot, read):
        offset = self.table.Offset(4 + 2 * slot)
        if not offset:
            return None
        start = self.table.Vector(offset)
        return [read(start + 4 * index) for index in range(self.table.VectorLen(offset))]

    def tables(self, slot):
        return self.vector(slot, lambda place: Read(self.table.Bytes, self.table.Indirect(place)))

    def texts(self, slot):
        return self.vector(slot, lambda place: self.table.String(place).decode())

    def floats(self, slot):
        return self.vector(slot, lambda place: self.table.Get(NUMBERS.Float32Flags, place))

    def uints(self, slot):
        return self.vector(slot, lambda place: self.table.Get(NUMBERS.Uint32Flags, place))


def metadata(data):
    editor = Editor(data)
    entry = next(entry for entry in editor.model.metadata if text(entry.name) == "TFLITE_METADATA")
    found = bytes(editor.model.buffers[entry.buffer].data)
    assert found[4:8] == b"M001"
    return Read.root(found)


@pytest.fixture
def phone(make_spec, make_raw, outputs):
    spec = make_spec()
    data = append_detection_postprocess(make_raw(spec, *outputs(spec)), spec)
    spec = msgspec.structs.replace(spec, output=OutputSpec(level="nms"))
    return add_phone_metadata(data, spec), spec


def test_the_model_and_its_input(phone):
    model = metadata(phone[0])
    assert (model.text(0), model.text(7)) == ("tiny", "1.2.0")
    (graph,) = model.tables(3)
    (image,) = graph.tables(2)
    assert image.text(0) == "image"
    content = image.sub(3)
    assert content.byte(0) == 2  # ImageProperties
    assert content.sub(1).byte(0) == 1  # RGB
    assert (content.sub(1).sub(1).uint(0), content.sub(1).sub(1).uint(1)) == (4, 4)
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    assert (unit.sub(1).floats(0), unit.sub(1).floats(1)) == ([120, 110, 100], [60, 57, 58])
    low, high = image.sub(5).floats(1), image.sub(5).floats(0)
    np.testing.assert_allclose([low, high], [[-2, -110 / 57, -100 / 58], [135 / 60, 145 / 57, 155 / 58]], rtol=1e-6)


def test_the_roles_of_the_outputs(phone):
    (graph,) = metadata(phone[0]).tables(3)
    outputs = graph.tables(3)
    assert [output.text(0) for output in outputs] == ["location", "category", "score", "number of detections"]
    boxes = outputs[0].sub(3)
    assert boxes.byte(0) == 3  # BoundingBoxProperties
    assert boxes.sub(1).uints(0) == [1, 0, 3, 2]
    assert (boxes.sub(1).byte(1), boxes.sub(1).byte(2)) == (1, 0)  # BOUNDARIES, RATIO
    assert [output.sub(3).byte(0) for output in outputs[1:]] == [1, 1, 1]  # FeatureProperties
    (labels,) = outputs[1].tables(6)
    assert (labels.text(0), labels.byte(2)) == ("labels.txt", 3)  # TENSOR_VALUE_LABELS
    (group,) = graph.tables(8)
    assert (group.text(0), group.texts(1)) == ("detection_result", ["location", "category", "score"])


def test_the_labels_are_a_zip_behind_the_file(phone):
    data, spec = phone
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode() == "tomato\ncrème brûlée\nthird\n"
    assert data[entry.header_offset :].startswith(b"PK")
    assert add_phone_metadata(data, spec) == add_phone_metadata(data, spec)


def test_a_runtime_reads_such_a_file(phone, run):
    assert list(run(phone[0], np.zeros((1, 4, 4, 3), np.float32))) == ["boxes", "labels", "scores", "count"]


@pytest.mark.parametrize(("scores", "kind"), [("sigmoid", 2), ("softmax", 0)])
def test_raw_files_have_the_labels_and_the_normalisation(make_spec, make_raw, outputs, scores, kind):
    spec = make_spec(scores=scores)
    data = add_phone_metadata(describe(make_raw(spec, *outputs(spec)), spec), spec)
    (graph,) = metadata(data).tables(3)
    assert graph.tables(2)[0].tables(4)[0].sub(1).floats(0) == [120, 110, 100]
    logits, offsets = graph.tables(3)
    assert (logits.text(0), offsets.text(0)) == ("logits", "offsets")
    # Columns of softmax begin with the background, which is no line of the file: no TENSOR_AXIS_LABELS then.
    assert logits.tables(6)[0].byte(2) == kind
    assert offsets.tables(6) is None
    assert graph.tables(8) is None
    assert list(attached_files(data)) == ["labels.txt"]


def test_a_field_that_the_schema_lacks():
    with pytest.raises(AssertionError, match="depth"):
        Table("ImageSize", width=1, depth=2)
