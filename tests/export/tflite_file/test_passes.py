import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType

from edgessd.export.tflite_file import fold_paddings, remove_dead
from edgessd.export.tflite_file.editor import Editor, schema

INNER, OUTER = [0, 3, 1, 2], [0, 2, 3, 1]
KERNELS = [OpResolverType.AUTO, OpResolverType.BUILTIN_REF]


def kinds(data):
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    editor = Editor(data)
    return [names[editor.kind(operator)] for operator in editor.operators]


@pytest.fixture
def padded(blank):
    """A function: image -> TRANSPOSE, PAD (of height and width), TRANSPOSE -> convolution without padding."""

    def make(size, pads, *, kernel=3, stride=2, dilation=1, depthwise=False, dtype="float32", zero=7, transposed=True):
        editor = blank()
        quantized = dtype == "int8"
        image_scale, rng = (0.05, zero) if quantized else None, np.random.default_rng(0)
        (height, width), ((top, bottom), (left, right)) = size, pads
        image = editor.tensor("image", (1, height, width, 2), dtype, image_scale)
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        full = (1, height + top + bottom, width + left + right, 2)
        if transposed:
            there, back = (editor.constant(n, np.array(o, np.int32)) for n, o in (("there", INNER), ("back", OUTER)))
            inner = editor.tensor("inner", (1, 2, height, width), dtype, image_scale)
            editor.operator("TRANSPOSE", [image, there], [inner], version=2)
            padded = editor.tensor("inner_padded", [full[axis] for axis in INNER], dtype, image_scale)
            editor.operator("PAD", [inner, editor.constant("amounts", amounts[INNER])], [padded], version=2)
            outer = editor.tensor("outer", full, dtype, image_scale)
            editor.operator("TRANSPOSE", [padded, back], [outer], version=2)
        else:
            outer = editor.tensor("outer", full, dtype, image_scale)
            editor.operator("PAD", [image, editor.constant("amounts", amounts)], [outer], version=2)
        channels = 2 if depthwise else 3
        shape = (1, kernel, kernel, 2) if depthwise else (3, kernel, kernel, 2)
        if quantized:
            weights = editor.constant("weights", rng.integers(-127, 128, shape).astype(np.int8))
            bias = editor.constant("bias", rng.integers(-500, 500, channels).astype(np.int32))
            for tensor, factor in ((weights, 0.01), (bias, 0.0005)):
                parameters = schema.QuantizationParametersT()
                parameters.scale = np.full(channels, factor, np.float32)
                parameters.zeroPoint = np.zeros(channels, np.int64)
                parameters.quantizedDimension = 3 if depthwise and tensor == weights else 0
                editor.graph.tensors[tensor].quantization = parameters
        else:
            weights = editor.constant("weights", rng.normal(size=shape).astype(np.float32))
            bias = editor.constant("bias", rng.normal(size=channels).astype(np.float32))
        reach = (kernel - 1) * dilation + 1
        result_shape = (1, (full[1] - reach) // stride + 1, (full[2] - reach) // stride + 1, channels)
        result = editor.tensor("result", result_shape, dtype, (0.1, 3) if quantized else None)
        options = {"strideW": stride, "strideH": stride, "dilationWFactor": dilation, "dilationHFactor": dilation}
        if depthwise:
            options["depthMultiplier"] = 1
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        inputs = [outer, weights, bias]
        editor.operator(kind, inputs, [result], version=3, padding=schema.Padding.VALID, **options)
        editor.interface({"image": image}, {"result": result})
        return editor

    return make


def picture(editor):
    rng = np.random.default_rng(1)
    index = editor.inputs()["image"]
    if editor.dtype(index) == "int8":
        return rng.integers(-128, 128, editor.shape(index)).astype(np.int8)
    return rng.normal(size=editor.shape(index)).astype(np.float32)


SAME_CASES = [
    # size, amounts of TensorFlow's SAME (more at the end), options
    ((6, 6), ((0, 1), (0, 1)), {}),
    ((7, 6), ((1, 1), (0, 1)), {}),
    ((6, 5), ((1, 2), (1, 2)), {"kernel": 4, "stride": 1}),
    ((6, 5), ((1, 2), (2, 2)), {"kernel": 5}),
    ((7, 7), ((2, 2), (2, 2)), {"stride": 1, "dilation": 2}),
]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "pads", "options"), SAME_CASES)
def test_same_paddings_go_into_the_convolution(padded, run, size, pads, options, transposed, depthwise, dtype, kernels):
    editor = padded(size, pads, depthwise=depthwise, dtype=dtype, transposed=transposed, **options)
    before = editor.to_bytes()
    after = fold_paddings(before)
    assert kinds(after) == ["DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"]
    expected, found = (
        run(data, picture(editor), experimental_op_resolver_type=kernels)["result"] for data in (before, after)
    )
    assert np.ptp(expected.astype(np.float64)) > 1
    if dtype == "int8":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize(
    ("size", "pads"),
    [((6, 6), ((1, 1), (1, 1))), ((6, 6), ((1, 0), (1, 0))), ((6, 6), ((0, 1), (0, 3))), ((6, 6), ((0, 0), (0, 1)))],
)
def test_other_paddings_stay_but_lose_their_transposes(padded, run, size, pads, dtype):
    editor = padded(size, pads, dtype=dtype)
    before = editor.to_bytes()
    after = fold_paddings(before)
    assert kinds(after) == ["PAD", "CONV_2D"]
    np.testing.assert_array_equal(run(after, picture(editor))["result"], run(before, picture(editor))["result"])


def test_a_padding_that_others_read_stays_for_them(padded, run):
    editor = padded((6, 6), ((0, 1), (0, 1)))
    outer = editor.producers()[editor.outputs()["result"]].inputs[0]
    total = editor.node("SUM", [int(outer), editor.constant("axes", np.array([1, 2, 3], np.int32))], "total", (1,))
    editor.interface(editor.inputs(), {**editor.outputs(), "total": total})
    before = editor.to_bytes()
    after = fold_paddings(before)
    assert sorted(kinds(after)) == ["CONV_2D", "PAD", "SUM"]
    expected, found = (run(data, picture(editor)) for data in (before, after))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_a_requantising_padding_stays(padded):
    editor = padded((6, 6), ((0, 1), (0, 1)), dtype="int8", transposed=False)
    outer = int(editor.producers()[editor.outputs()["result"]].inputs[0])
    editor.graph.tensors[outer].quantization.zeroPoint[0] += 1
    assert kinds(fold_paddings(editor.to_bytes())) == ["PAD", "CONV_2D"]


def transposes(blank, *orders, output_inside=False):
    editor = blank()
    image = current = editor.tensor("image", (1, 2, 3, 4))
    shape, names = (1, 2, 3, 4), {}
    for number, order in enumerate(orders):
        shape = tuple(shape[axis] for axis in order)
        constant = editor.constant(f"order{number}", np.array(order, np.int32))
        current = editor.node("TRANSPOSE", [current, constant], f"step{number}", shape)
    if output_inside:
        names["inside"] = current
    result = editor.node("MUL", [current, editor.constant("two", np.array(2, np.float32))], "double", shape)
    editor.interface({"image": image}, {**names, "result": result})
    return editor


@pytest.mark.parametrize(
    ("orders", "left"),
    [
        ((INNER, OUTER), 0),
        ((OUTER, INNER), 0),
        ((INNER, OUTER, INNER, OUTER), 0),
        ((INNER, OUTER, INNER), 1),
        ((INNER, INNER), 2),
        ((OUTER,), 1),
    ],
)
def test_transposes_that_undo_each_other_go(blank, run, orders, left):
    editor = transposes(blank, *orders)
    before = editor.to_bytes()
    after = fold_paddings(before)
    assert kinds(after) == ["TRANSPOSE"] * left + ["MUL"]
    np.testing.assert_array_equal(run(after, picture(editor))["result"], run(before, picture(editor))["result"])


def test_an_output_is_not_taken_away(blank, run):
    editor = transposes(blank, INNER, OUTER, output_inside=True)
    after = fold_paddings(editor.to_bytes())
    assert list(Editor(after).outputs()) == ["inside", "result"]
    image = picture(editor)
    np.testing.assert_array_equal(run(after, image)["inside"], image[0])


def test_what_no_output_needs_goes(blank, run):
    editor = blank()
    image = editor.tensor("image", (1, 5))
    one = editor.constant("one", np.array(1, np.float32))
    result = editor.node("ADD", [image, one], "result", (1, 5))
    wasted = editor.node("EXP", [editor.node("MUL", [image, one], "waste", (1, 5))], "more", (1, 5))
    editor.constant("large", np.ones(10_000, np.float32))
    editor.set_metadata("note", b"kept")
    editor.interface({"image": image}, {"result": result, "wasted": wasted})
    editor.interface({"image": image}, {"result": result})
    before = editor.to_bytes()
    after = remove_dead(before)
    assert kinds(after) == ["ADD"]
    cleaned = Editor(after)
    assert (len(cleaned.graph.tensors), len(cleaned.model.operatorCodes)) == (3, 1)
    assert len(after) < len(before) - 40_000
    (entry,) = cleaned.model.metadata
    assert bytes(cleaned.model.buffers[entry.buffer].data) == b"kept"
    x = np.arange(5, dtype=np.float32)[None]
    np.testing.assert_array_equal(run(after, x)["result"], x[0] + 1)
    assert remove_dead(after) == after
