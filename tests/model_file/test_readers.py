"""Readers that need no engine: what they find in good files, and that bad ones end in ModelError."""

import json
import struct
from pathlib import Path

import pytest

from edgessd import zoo
from edgessd.errors import ModelError
from edgessd.model_file.kinds import file_kind
from edgessd.model_file.readers import flatbuffer, protobuf
from edgessd.model_file.readers.facts import TensorFact
from edgessd.model_file.readers.flatbuffer import FlatBuffer
from edgessd.model_file.readers.flexbuffer import read_flex_map
from edgessd.model_file.readers.onnx import parse_onnx, read_onnx
from edgessd.model_file.readers.openvino import parse_openvino, read_openvino
from edgessd.model_file.readers.safetensors import parse_header, read_safetensors
from edgessd.model_file.readers.tflite import parse_tflite, read_tflite

DATA = Path(__file__).parent.parent / "data"
TINY = (DATA / "tiny.tflite").read_bytes()
NMS = (DATA / "tiny_nms.tflite").read_bytes()


def damaged(function, *arguments, match="truncated or damaged"):
    with pytest.raises(ModelError, match=match):
        function(*arguments)


# TFLite.


def test_tflite_facts():
    facts = read_tflite(DATA / "tiny.tflite")
    assert facts.inputs == (TensorFact("image", (1, 4, 8, 3), "float32"),)
    assert [each.name for each in facts.outputs] == ["logits", "offsets"]
    assert facts.spec("tiny").name == "tiny"
    assert facts.labels is None
    assert facts.weights == {"float32", "int32"}


def test_tflite_detection_and_standard_metadata():
    file = parse_tflite(NMS)
    assert file.detection.outputs == (0, 1, 2, 3)
    assert [each.shape for each in file.detection.inputs] == [(1, 2, 4), (1, 2, 3), (2, 4)]
    assert file.detection.options["num_classes"] == 2
    assert file.detection.options["nms_iou_threshold"] == 0.5
    assert file.detection.options["use_regular_nms"] == 1
    assert file.labels == ("a", "b")
    assert (file.mean, file.scale) == ((0.0,), (255.0,))


def test_tflite_variants(make_tflite):
    facts = parse_tflite(make_tflite.tiny(input_type="int8", input_scale=(0.5, -3), output_type="uint8"))
    assert facts.inputs == (TensorFact("image", (1, 4, 8, 3), "int8", 0.5, -3),)
    assert facts.outputs[0] == TensorFact("logits", (1, 2, 2), "uint8", 0.125, 3)
    facts = parse_tflite(make_tflite.tiny(names=("x", "y"), signature=("logits", "offsets")))
    assert facts.aliases == {"logits": "x", "offsets": "y"}
    assert parse_tflite(make_tflite.tiny(outside=True)).spec("x").name == "tiny"
    assert parse_tflite(make_tflite.tiny(text="")).spec_text is None


def test_the_bundled_tiny_files_are_those_that_the_program_writes(make_tflite):
    assert make_tflite.tiny() == TINY
    assert make_tflite.tiny_nms(standard=True) == NMS


@pytest.mark.parametrize("data", [TINY, NMS[: NMS.index(b"PK\x03\x04")]])
def test_every_truncation_of_a_tflite_file_is_noticed(data):
    for length in range(len(data) - 4):
        try:
            parse_tflite(data[:length])
        except ModelError:
            continue
        # All that is missing may be the end of a constant that nothing else points at.
        assert length > len(data) - 64


def test_a_tflite_file_with_a_broken_archive_of_labels():
    start = NMS.index(b"PK\x03\x04")
    damaged(parse_tflite, NMS[: start + 20], match="archive of associated files")
    renamed = NMS[:start] + NMS[start:].replace(b"labels.txt", b"lables.txt")
    assert parse_tflite(renamed).labels is None


def test_an_archive_that_unpacks_to_gigabytes_is_refused(make_tflite):
    import io
    import zipfile

    data = make_tflite.tiny_nms(standard=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("labels.txt", b"a\n" * 10_000_000)
    damaged(parse_tflite, data[: data.index(b"PK\x03\x04")] + archive.getvalue(), match="label file of 20,000,000")


def test_a_tensor_of_many_gigabytes_is_refused():
    shape = struct.pack("<IIIII", 4, 1, 4, 8, 3)
    position = TINY.index(shape)
    damaged(parse_tflite, TINY[: position + 8] + struct.pack("<I", 2**30) + TINY[position + 12 :])
    huge = TINY[: position + 4] + struct.pack("<IIII", 30_000, 30_000, 30_000, 3) + TINY[position + 20 :]
    damaged(parse_tflite, huge, match="81,000")


def test_flatbuffers_that_share_their_tables_do_not_take_for_ever():
    # A table with a list of 20,000 references to one table, which has such a list again: 20,000^2 tables in 160 KB.
    count = 20_000
    data = struct.pack("<I4sHHHH", 16, b"TFL3", 8, 8, 4, 0)  # the vtable, at 8, has one field, at 4
    for _ in range(2):
        data += struct.pack("<iII", len(data) - 8, 4, count)  # a table, and the length of its list
        end = len(data) + 4 * count
        data += b"".join(struct.pack("<I", end - position) for position in range(len(data), end, 4))
    data += struct.pack("<iII", len(data) - 8, 4, 0)
    root = FlatBuffer(data, b"TFL3").root
    assert sum(1 for _ in root.tables(0)) == count
    damaged(lambda: [0 for table in root.tables(0) for _ in table.tables(0)], match="more than 200,000 tables")
    buffer = FlatBuffer(TINY, b"TFL3")
    buffer.visited = flatbuffer.MAX_TABLES - 2
    damaged(lambda: list(buffer.root.tables(4)), match="more than 200,000 tables")
    buffer.visited, buffer.copied = 0, flatbuffer.MAX_COPIED
    damaged(lambda: buffer.root.text(3), match="bytes of texts")


def test_flexbuffers():
    flexbuffers = pytest.importorskip("flatbuffers.flexbuffers")
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("small", -3)
        builder.Int("large", -(2**40))
        builder.UInt("unsigned", 200)
        builder.Float("real", 0.1)
        builder.Bool("yes", True)
        builder.String("text", "left out")
        builder.IndirectInt("far", 77)
    data = bytes(builder.Finish())
    expected = {"small": -3, "large": -(2**40), "unsigned": 200, "real": pytest.approx(0.1), "yes": 1, "far": 77}
    assert read_flex_map(data) == expected
    for length in range(len(data)):
        damaged(read_flex_map, data[:length], match="options of an operator")


# ONNX.


def test_onnx_facts(make_onnx):
    facts = parse_onnx(make_onnx.onnx_graph("nms").SerializeToString())
    assert facts.inputs == (TensorFact("image", (None, 3, 4, 8), "float32"),)
    assert [(each.name, each.shape, each.dtype) for each in facts.outputs] == [
        ("boxes", (None, 3, 4), "float32"),
        ("scores", (None, 3), "float32"),
        ("labels", (None, 3), "int64"),
        ("count", (None,), "int64"),
    ]
    assert facts.spec("x") == make_onnx.level_spec("nms")
    assert facts.labels == ("a", "traffic light")
    assert "float16" in parse_onnx(make_onnx.onnx_graph(half=True).SerializeToString()).weights


def test_onnx_facts_are_those_of_onnxruntime():
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(zoo.resolve_model()), providers=["CPUExecutionProvider"])
    facts = read_onnx(zoo.resolve_model())
    assert facts.spec_text.decode() == session.get_modelmeta().custom_metadata_map["edgessd.spec"]
    for ours, theirs in zip(
        (*facts.inputs, *facts.outputs), (*session.get_inputs(), *session.get_outputs()), strict=True
    ):
        assert ours.name == theirs.name
        assert [size for size in ours.shape if size] == [size for size in theirs.shape if isinstance(size, int)]
    assert {"int8", "uint8"} <= facts.weights


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({}, None),
        ({"names": "no json"}, None),
        ({"names": "[" * 10_000}, None),
        ({"names": '{"0": "a", "2": "b"}'}, None),
        ({"names": '{"1": "b", "0": "a"}'}, ("a", "b")),
        ({"names": '{"0": 1}'}, None),
    ],
)
def test_onnx_labels(make_onnx, names, labels):
    facts = parse_onnx(make_onnx.onnx_graph(names=names).SerializeToString())
    assert facts.labels == labels
    assert facts.spec_text is None


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no graph"),
        (b"\x08\x08", "no graph"),
        (b"\x3a\xff\xff\xff\xff\x0f", "longer than the file"),
        (b"\x3a" + b"\xff" * 20, "has no end"),
        (b"\x3b\x00", "unknown type 3"),
        (b"\x39\x00", "longer than the file"),
        (b"\x80", "has no end"),
        (b"\x08\x00" * 1_000_001, "more than 1,000,000 fields"),
    ],
)
def test_damaged_onnx_files(data, match):
    damaged(parse_onnx, data, match=match)


def test_numbers_of_protocol_buffers():
    assert list(protobuf.Reader().fields(memoryview(b"\x08\x96\x01\x15abcd\x19abcdefgh\x22\x02hi"))) == [
        (1, 150), (2, b"abcd"), (3, b"abcdefgh"), (4, b"hi"),
    ]  # fmt: skip


# safetensors.


def header(metadata=None, size=8, dtype="F32"):
    return json.dumps(
        {
            "__metadata__": {} if metadata is None else metadata,
            "w": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]},
        }
    ).encode()


def test_safetensors_header(tmp_path):
    facts = parse_header(header({"edgessd.spec": "{}"}), 8)
    assert (facts.spec_text, facts.weights) == (b"{}", {"float32"})
    data = header()
    (tmp_path / "a.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + bytes(8))
    assert read_safetensors(tmp_path / "a.safetensors").spec_text is None


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "header"),
        (b"[]", "header"),
        (b"{", "header"),
        (b"[" * 100_000, "header"),
        (b'{"__metadata__": 3}', "header"),
        (b'{"__metadata__": {"a": 3}}', "header"),
        (b'{"w": {}}', "header"),
        (header(size=9), "weights are missing"),
        (header(size=-1), "weights are missing"),
        (header(size=10**30), "weights are missing|header"),
    ],
)
def test_damaged_safetensors_headers(data, match):
    damaged(parse_header, data, 8, match=match)


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    damaged(read_safetensors, path, match=r"a\.safetensors: .*the length of its header")


# OpenVINO.

XML = """<?xml version="1.0"?>
<net name="x" version="11"><layers>
<layer id="0" name="image" type="Parameter"><data shape="?,3,4,8" element_type="f32"/><output>
<port id="0" precision="FP32" names="image"><dim>-1</dim><dim>3</dim><dim>4</dim><dim>8</dim></port></output></layer>
<layer id="1" name="w" type="Const"><data element_type="i8" shape="2" offset="0" size="2"/><output>
<port id="0" precision="I8"><dim>2</dim></port></output></layer>
<layer id="2" name="logits/sink_port_0" type="Result" output_names="logits,other"><input>
<port id="0" precision="FP32"><dim>-1</dim><dim>2</dim></port></input></layer>
</layers><rt_info><edgessd><spec value="{&quot;schema&quot;:1}"/></edgessd>
<model_info><labels value="a traffic_light"/></model_info></rt_info></net>"""


def test_openvino_facts():
    facts = parse_openvino(XML.encode())
    assert facts.inputs == (TensorFact("image", (None, 3, 4, 8), "float32"),)
    assert [(each.shape, each.dtype) for each in facts.outputs] == [((None, 2), "float32")]
    assert facts.aliases["other"] == facts.aliases["logits"] == facts.outputs[0].name
    assert facts.labels == ("a", "traffic_light")
    assert facts.spec_text == b'{"schema":1}'
    assert facts.weights == {"int8"}


BOMB = (
    '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><net>&i;</net>"
)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "its XML"),
        (b"<net>", "its XML"),
        (b"<other/>", "no <net>"),
        (BOMB.encode(), "document type"),
        (b'<!DOCTYPE net SYSTEM "file:///etc/passwd"><net/>', "document type"),
        (b"<net>" * 200, "too deep"),
        (b'<?xml version="1.0" encoding="nonsense"?><net/>', "its XML"),
        (b"<net>\xff\xfe</net>", "its XML"),
    ],
)
def test_damaged_openvino_files(data, match):
    damaged(parse_openvino, data, match=match)


def test_the_name_of_the_file_is_in_the_message(tmp_path):
    for function, name in (
        (read_openvino, "a.xml"),
        (read_tflite, "a.tflite"),
        (read_onnx, "a.onnx"),
        (read_safetensors, "a.safetensors"),
    ):
        (tmp_path / name).write_bytes(b"<net")
        damaged(function, tmp_path / name, match=name)
        damaged(function, tmp_path / f"no{name}", match=f"no{name} cannot be read")


# Kinds.


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1c\0\0\0TFL3", "tflite"),
        (b"\x02\0\0\0\0\0\0\0{}", "torch"),
        (b"<?xml version='1.0'?><net/>", "openvino"),
        (b"\xef\xbb\xbf  <net name='x'>", "openvino"),
        (b"\x08\x08", "onnx"),
    ],
)
def test_kinds_by_content(tmp_path, head, kind):
    (tmp_path / "file").write_bytes(head)
    assert file_kind(tmp_path / "file") == kind


def test_a_name_with_control_characters_does_not_reach_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[2J"
    path.write_bytes(b"hello")
    with pytest.raises(ModelError) as caught:
        file_kind(path)
    assert "\x1b" not in str(caught.value)
