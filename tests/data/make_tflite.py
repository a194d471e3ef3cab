"""Tiny TFLite files for tests, written with the schema that ai-edge-litert brings.

The network answers `LOGITS` plus the mean of the input, and offsets of zero, for two priors side by side.
Run this file to write tiny.tflite (level raw) and tiny_nms.tflite (level nms) beside it again.
"""

import io
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from edgessd.ops.priors import explicit_priors
from edgessd.spec import METADATA_KEY, InputSpec, ModelSpec, OutputSpec, Thresholds

LOGITS = np.array([[2, -9], [-9, 1]], np.float32)
SPEC = ModelSpec(
    name="tiny",
    input=InputSpec(width=8, height=4, layout="NHWC", scale=(255.0,) * 3),
    classes=("a", "b"),
    priors=explicit_priors([(1, 2)], [[(0.5, 1.0)]]),
    scores="sigmoid",
)
NMS = ModelSpec(
    name="tiny_nms",
    input=SPEC.input,
    classes=SPEC.classes,
    priors=SPEC.priors,
    scores="sigmoid",
    output=OutputSpec(level="nms"),
    defaults=Thresholds(score_threshold=0.25, iou_threshold=0.5, max_detections=3),
)
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}
SIZE = 1 / 255


class Graph:
    """A graph under construction."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "tiny"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name, shape, dtype="float32", values=None, scale=None, zero_point=0):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), TYPES[dtype], 0
        if values is not None:
            tensor.buffer = self.buffer(np.ascontiguousarray(values, dtype).tobytes())
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def buffer(self, data):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(self, code, inputs, outputs, options=None, custom=None):
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 2 if code == 6 else 1
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = inputs, outputs
        if custom is not None:
            entry.customCode, data = custom
            operator.customOptions = np.frombuffer(data, np.uint8)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            operator.builtinOptions = options
        self.model.operatorCodes.append(entry)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        self.graph.operators.append(operator)

    def metadata(self, name, data):
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self.buffer(data)
        self.model.metadata = [*(self.model.metadata or []), entry]

    def signature(self, outputs):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = [], []
        for name, index in outputs.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            signature.outputs.append(entry)
        self.model.signatureDefs = [signature]

    def to_bytes(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tiny(
    spec=SPEC,
    *,
    text=None,
    input_type="float32",
    input_scale=(SIZE, 0),
    output_type="float32",
    names=("logits", "offsets"),
    signature=None,
    columns=2,
    batch=1,
    reverse=False,
    outside=False,
):
    """Bytes of a raw-level file. text: instead of the spec's JSON; "" for none. outside: the spec lies behind the
    flatbuffer, as in files of more than 2 GB."""
    graph = Graph()
    logits, offsets = _network(graph, input_type, input_scale, columns, batch)
    outputs = []
    for name, index, shape in (
        (names[0], logits, (batch, 2, columns)),
        (names[1], offsets, (batch, 2, 4)),
    ):
        if output_type == "float32":
            graph.graph.tensors[index].name = name
            outputs.append(index)
        else:
            outputs.append(graph.tensor(name, shape, output_type, scale=0.125, zero_point=3))
            graph.operator(114, [index], outputs[-1:])
    if signature is not None:
        graph.signature(dict(zip(signature, outputs, strict=True)))
    graph.graph.outputs = outputs[::-1] if reverse else outputs
    return _finish(graph, spec, text, outside)


def tiny_nms(spec=NMS, *, text=None, columns=3, options=None, input_type="float32", standard=False, order=(0, 1, 2, 3)):
    """Bytes of a file that ends in TFLite_Detection_PostProcess, with the thresholds of `NMS`.

    standard: with the standard metadata and its label file behind the model. order: of the graph's outputs.
    """
    graph = Graph()
    logits, offsets = _network(graph, input_type, (SIZE, 0), columns, 1)
    scores = graph.tensor("scores", (1, 2, columns))
    graph.operator(14, [logits], [scores])
    anchors = graph.tensor("anchors", (2, 4), values=[[0.5, 0.25, 1, 0.5], [0.5, 0.75, 1, 0.5]])
    made = [graph.tensor(name, shape) for name, shape in
            (("boxes", (1, 3, 4)), ("labels", (1, 3)), ("scores_kept", (1, 3)), ("count", (1,)))]  # fmt: skip
    values = {
        "max_detections": 3, "max_classes_per_detection": 1, "detections_per_class": 3, "use_regular_nms": True,
        "nms_score_threshold": 0.25, "nms_iou_threshold": 0.5, "num_classes": columns - 1,
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0, **(options or {}),
    }  # fmt: skip
    graph.operator(32, [offsets, scores, anchors], made, custom=("TFLite_Detection_PostProcess", _flex(values)))
    graph.graph.outputs = [made[place] for place in order]
    if standard:
        graph.metadata("TFLITE_METADATA", _standard_metadata())
    data = _finish(graph, spec, text, outside=False)
    if standard:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(zipfile.ZipInfo("labels.txt"), "a\nb\n")
        data += archive.getvalue()
    return data


def _network(graph, input_type, input_scale, columns, batch):
    """Mean of the input, plus a table; zero times the mean. The background column of a wider table is -9."""
    quantized = {} if input_type == "float32" else {"scale": input_scale[0], "zero_point": input_scale[1]}
    image = graph.tensor("image", (batch, 4, 8, 3), input_type, **quantized)
    graph.graph.inputs = [image]
    if input_type != "float32":
        real = graph.tensor("real", (batch, 4, 8, 3))
        graph.operator(6, [image], [real])
        image = real
    axis = graph.tensor("axis", (3,), "int32", [1, 2, 3])
    mean = graph.tensor("mean", (batch, 1, 1, 1))
    keep = schema.ReducerOptionsT()
    keep.keepDims = True
    graph.operator(40, [image, axis], [mean], keep)
    flat = graph.tensor("flat", (batch, 1, 1))
    shape = graph.tensor("shape", (3,), "int32", [batch, 1, 1])
    graph.operator(22, [mean, shape], [flat], schema.ReshapeOptionsT())
    wide = np.full((1, 2, columns), -9, np.float32)
    wide[..., -2:] = LOGITS
    table = graph.tensor("table", wide.shape, values=wide)
    zeros = graph.tensor("zeros", (1, 2, 4), values=np.zeros((1, 2, 4)))
    logits = graph.tensor("sum", (batch, 2, columns))
    offsets = graph.tensor("product", (batch, 2, 4))
    graph.operator(0, [flat, table], [logits], schema.AddOptionsT())
    graph.operator(18, [flat, zeros], [offsets], schema.MulOptionsT())
    return logits, offsets


def _finish(graph, spec, text, outside):
    text = spec.to_json() if text is None else text
    if not text:
        return graph.to_bytes()
    if not outside:
        graph.metadata(METADATA_KEY, text.encode())
        return graph.to_bytes()
    graph.metadata(METADATA_KEY, b"")
    buffer = graph.model.buffers[-1]
    buffer.data, buffer.offset, buffer.size = None, 2**40, len(text.encode())
    buffer.offset = len(graph.to_bytes())
    return graph.to_bytes() + text.encode()


def _flex(values):
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](key, value)
    return bytes(builder.Finish())


def _standard_metadata():
    """The little of the standard metadata that is read: a normalisation, and a label file of the second output.

    Tables by hand, because the metadata's schema is not part of ai-edge-litert: see metadata_schema.fbs.
    """
    builder = flatbuffers.Builder(256)

    def vector(offsets):
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def floats(values):
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    def table(size, offsets, scalars=()):
        builder.StartObject(size)
        for field, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, value in scalars:
            builder.PrependUint8Slot(field, value, 0)
        return builder.EndObject()

    mean, std, name = floats([0.0]), floats([255.0]), builder.CreateString("labels.txt")
    normalization = table(2, {0: mean, 1: std})
    unit = table(2, {1: normalization}, [(0, 1)])
    image = table(7, {4: vector([unit])})
    file = table(5, {0: name}, [(2, 3)])
    boxes = table(7, {})
    labels = table(7, {6: vector([file])})
    graph = table(9, {2: vector([image]), 3: vector([boxes, labels])})
    builder.Finish(table(8, {3: vector([graph])}), b"M001")
    return bytes(builder.Output())


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "tiny.tflite").write_bytes(tiny())
    (here / "tiny_nms.tflite").write_bytes(tiny_nms(standard=True))
