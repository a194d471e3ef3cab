"""Tiny TFLite files, made operator by operator: no converter, no torch."""

import flatbuffers
import msgspec
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert.interpreter import Interpreter

from edgessd.export.tflite_file.editor import Editor, schema
from edgessd.spec import InputSpec, ModelSpec, PriorLevel, PriorSpec, Thresholds

SIDE = 4
CLASSES = ("tomato", "crème brûlée", "third")


@pytest.fixture
def blank():
    """A function that returns an editor of a file with nothing in it."""

    def make():
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], []
        graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = "main", [], [], [], []
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        editor = Editor(bytes(builder.Output()))
        editor.graph.tensors, editor.graph.operators, editor.model.operatorCodes = [], [], []
        return editor

    return make


@pytest.fixture
def run():
    """A function that runs a file on an input and returns its outputs by name, without the batch."""

    def answer(data, image, **options):
        engine = Interpreter(model_content=data, **{"num_threads": 1, **options})
        engine.allocate_tensors()
        (detail,) = engine.get_input_details()
        assert detail["dtype"] == image.dtype and tuple(detail["shape"]) == image.shape
        engine.set_tensor(detail["index"], image)
        engine.invoke()
        return {each["name"]: engine.get_tensor(each["index"])[0] for each in engine.get_output_details()}

    return answer


@pytest.fixture
def make_spec():
    """A function that returns the spec of `make_raw`'s network; keywords replace its parts."""

    def make(scores="sigmoid", **parts):
        boxes = ((0.3, 0.4), (0.7, 0.2), (0.9, 0.9))
        spec = ModelSpec(
            name="tiny",
            input=InputSpec(width=SIDE, height=SIDE, layout="NHWC", mean=(120, 110, 100), scale=(60, 57, 58)),
            classes=CLASSES,
            priors=PriorSpec(levels=(PriorLevel(rows=6, columns=5, boxes=boxes),)),
            scores=scores,
            defaults=Thresholds(score_threshold=0.3, iou_threshold=0.5, max_detections=20, max_candidates=400),
        )
        return msgspec.structs.replace(spec, **parts)

    return make


@pytest.fixture
def make_raw(blank):
    """A function: (spec, logits, offsets) -> the file of a network that answers them to a black picture.

    Every output is the given one plus the sum of the picture's values. `dtype="int8"` makes a quantised file, whose
    outputs are rounded to steps of their largest value / 127.
    """

    def make(spec, logits, offsets, dtype="float32"):
        editor = blank()
        scale = None if dtype == "float32" else (1.0, -128)
        image = editor.tensor("args_0", (1, SIDE, SIDE, 3), dtype, scale)
        outputs = {}
        axes = editor.constant("axes", np.arange(4, dtype=np.int32))
        for name, values in (("output_0", logits), ("output_1", offsets)):
            if dtype == "float32":
                total = editor.node("SUM", [image, axes], f"{name}_sum", ())
                outputs[name] = editor.node(
                    "ADD", [total, editor.constant(f"{name}_values", values[None])], name, (1, *values.shape)
                )
            else:
                outputs[name] = _requantized(editor, image, name, values)
        editor.interface({"args_0": image}, outputs)
        return editor.to_bytes()

    return make


def _requantized(editor, image, name, values):
    """The int8 values plus the first of the picture, which is 0 where it is black."""
    scale, zero_point = float(np.abs(values).max() / 127), 0
    steps = np.clip(np.rint(values / scale), -128, 127).astype(np.int8)
    constant = editor.constant(f"{name}_values", steps[None])
    _quantize(editor, constant, scale, zero_point)
    first = editor.constant(f"{name}_begin", np.zeros(4, np.int32))
    one = editor.constant(f"{name}_size", np.ones(4, np.int32))
    pixel = editor.node("SLICE", [image, first, one], f"{name}_pixel", (1, 1, 1, 1), "int8")
    _quantize(editor, pixel, 1.0, -128)
    shape = editor.constant(f"{name}_shape", np.ones(3, np.int32))
    moved = editor.node("RESHAPE", [pixel, shape], f"{name}_moved", (1, 1, 1), "int8")
    _quantize(editor, moved, 1.0, -128)
    result = editor.node("ADD", [constant, moved], name, (1, *values.shape), "int8")
    _quantize(editor, result, scale, zero_point)
    return result


def _quantize(editor, tensor, scale, zero_point):
    editor.graph.tensors[tensor].quantization = schema.QuantizationParametersT()
    editor.graph.tensors[tensor].quantization.scale = np.array([scale], np.float32)
    editor.graph.tensors[tensor].quantization.zeroPoint = np.array([zero_point], np.int64)


@pytest.fixture
def outputs(rng):
    """A function that returns random logits and offsets for a spec: a few clear objects, some boxes over the border."""

    def make(spec, level=-4.0):
        logits = rng.normal(level, 3, (spec.priors.count, spec.num_logits)).astype(np.float32)
        offsets = rng.normal(0, 3, (spec.priors.count, 4)).astype(np.float32)
        return logits, offsets

    return make
