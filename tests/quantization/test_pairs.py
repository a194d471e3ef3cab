"""No pair of weights that x86 without VNNI adds in 16 bits can saturate: from the weights, and in the engines."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgessd import zoo
from edgessd.export.onnx_int8 import saturating_pairs
from edgessd.io.images import load_image
from edgessd.ops.preprocess import preprocess
from edgessd.quantization.adaptive import adaptive, bounded
from edgessd.quantization.pairs import LIMIT, pairings, saturating
from edgessd.quantization.rounding import bounded_scale, on_grid, symmetric_scale
from edgessd.runtimes import load_runtime
from edgessd.spec import METADATA_KEY, ModelSpec

SHAPES = [(8, 16, 1, 1), (8, 5, 1, 1), (4, 3, 3, 3), (4, 8, 3, 3), (6, 1, 3, 3), (3, 7, 2, 5), (2, 1, 1, 1)]


def integers(weight, scale):
    return (weight / scale.reshape(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8).numpy()


def slowly(weight):
    """Pairs beyond the bound, tap by tap: in the order row, column, channel; for an odd count in each tap as well."""
    found = 0
    for kernel in weight.astype(int).transpose(0, 2, 3, 1):
        taps = kernel.ravel()
        found += sum(abs(taps[i] + taps[i + 1]) > LIMIT for i in range(0, len(taps) - 1, 2))
        if kernel.shape[2] % 2:
            cells = kernel.reshape(-1, kernel.shape[2])
            found += sum(abs(c[i] + c[i + 1]) > LIMIT for c in cells for i in range(0, len(c) - 1, 2))
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_are_counted_as_tap_by_tap(shape):
    weight = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    assert saturating(weight) == slowly(weight)
    assert saturating(np.full((5, 1, 3, 3), 127, np.int8), groups=5) == 0  # depthwise adds in 32 bits
    for pairs in pairings(shape):
        assert len(set(pairs.ravel())) == pairs.size  # nothing stands in two pairs


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**31), spread=st.sampled_from([0.3, 1.0, 5.0]))
def test_no_rounding_leaves_a_pair_that_saturates(shape, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator).sign() * torch.rand(shape, generator=generator) ** spread
    scale = bounded_scale(weight)
    rounded = on_grid(weight, scale, bounded=True)
    assert saturating(integers(rounded, scale)) == 0
    inputs = weight[0].numel()
    seen = torch.rand(inputs, 3, generator=generator) @ torch.rand(3, 40, generator=generator)
    rows = weight.reshape(1, len(weight), inputs)
    rounded, scale = bounded(rows, symmetric_scale(weight)[None], (seen @ seen.T)[None], pairings(shape))
    assert saturating(integers(rounded.reshape(shape), scale[0])) == 0
    assert integers(rounded[0], scale[0]).astype(int).__abs__().max() <= 127


def test_what_is_within_the_bound_is_rounded_as_without():
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(4, 6, 1, 1, generator=generator) * torch.tensor([1.0, -1.0] * 3).reshape(1, 6, 1, 1)
    assert torch.equal(bounded_scale(weight), symmetric_scale(weight))
    assert torch.equal(on_grid(weight, symmetric_scale(weight), bounded=True), on_grid(weight, symmetric_scale(weight)))
    seen = torch.rand(6, 50, generator=generator)
    given = (weight.reshape(1, 4, 6), symmetric_scale(weight)[None], (seen @ seen.T)[None])
    assert torch.equal(bounded(*given, pairings(weight.shape))[0], adaptive(*given))


def test_the_cheaper_of_scale_and_rounding_is_taken():
    """A pair beyond the bound among weights that fit their grid: a larger scale costs all, so the pair gives way."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-25, 26, (1, 1, 64), generator=generator).float()
    weight[0, 0, :2] = torch.tensor([127.0, 2.0])
    seen = torch.randn(64, 2000, generator=generator)
    scale = torch.ones(1, 1)
    assert torch.equal(bounded(weight, scale, (seen @ seen.T)[None], pairings((1, 64, 1, 1)))[1], scale)
    weight[0, 0, :2] = 127.0  # here the pair would lose half of itself
    assert bounded(weight, scale, (seen @ seen.T)[None], pairings((1, 64, 1, 1)))[1] > 1.5 * scale


def worst_case(folder, channels, kernel):
    """A QDQ convolution whose pairs lie on the bound, its input, and its right answer in steps of the output."""
    rng = np.random.default_rng(0)
    weight = rng.choice([-127, 127], (16, channels * kernel * kernel)).astype(int)
    second = weight[:, 1::2]
    second[...] = np.where(weight[:, : 2 * second.shape[1] : 2] > 0, 1, -1)
    if channels % 2:
        weight //= 2  # both ways of pairing
    weight = weight.reshape(16, kernel, kernel, channels).transpose(0, 3, 1, 2).astype(np.int8)
    assert saturating(weight) == 0
    image = rng.choice([0, 254, 255], (1, channels, 6, 6)).astype(np.uint8)
    exact = torch.nn.functional.conv2d(torch.from_numpy(image).double(), torch.from_numpy(weight).double()).numpy()
    step = float(np.abs(exact).max() / 120)
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    values = {
        "xs": np.float32(1), "xz": np.uint8(0), "w": weight, "ws": np.ones(16, np.float32), "wz": np.zeros(16, np.int8),
        "ys": np.float32(step), "yz": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["yf"], kernel_shape=[kernel, kernel]),
        helper.make_node("QuantizeLinear", ["yf", "ys", "yz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "worst",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, image.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, None)],
        [array(value, name) for name, value in values.items()],
    )
    path = folder / "worst.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path, image, np.clip(np.rint(exact / step) + 128, 0, 255)


@pytest.mark.parametrize(("channels", "kernel"), [(64, 1), (33, 1), (3, 3), (32, 3), (1024, 1)])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_are_exact_at_the_bound_with_default_options(tmp_path, channels, kernel, engine):
    path, image, expected = worst_case(tmp_path, channels, kernel)
    if engine == "onnxruntime":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = session.run(None, {"x": image})[0]
    else:
        openvino = pytest.importorskip("openvino")
        found = openvino.Core().compile_model(str(path), "CPU")([image])[0]
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", list(zoo.bundled_models()))
def test_the_bundled_weights_cannot_saturate(name):
    proto = onnx.load(zoo.bundled_models()[name])
    assert saturating_pairs(proto) == 0
    text = next(entry.value for entry in proto.metadata_props if entry.key == METADATA_KEY)
    assert ModelSpec.from_json(text).quantization.saturation_free


@pytest.mark.parametrize("name", list(zoo.bundled_models()))
def test_plain_onnxruntime_answers_as_the_exact_graph(name):
    """Default options, as any other program would: the exact kernels, and the graph as it is written, say the same."""
    path = zoo.bundled_models()[name]
    image = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3)).astype(np.uint8)

    def answer(**settings):
        options = onnxruntime.SessionOptions()
        for key, value in settings.items():
            if key == "exact":
                options.add_session_config_entry("session.x64quantprecision", value)
            else:
                setattr(options, key, value)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: image})

    plain = answer()
    assert all(np.array_equal(a, b) for a, b in zip(plain, answer(exact="1"), strict=True))
    written = answer(graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    for found, expected in zip(plain, written, strict=True):
        assert np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()) < 0.06


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_file_without_proof_is_run_the_exact_way(tmp_path, monkeypatch, runtime):
    """Where the fast kernels saturate; its answers are those of the graph as it is written."""
    pytest.importorskip("openvino")
    proto = onnx.load(zoo.resolve_model())
    # The largest layer, near the outputs, gets weights as other quantisers choose them.
    largest = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    grown = np.clip(onnx.numpy_helper.to_array(largest).astype(int) * 2, -127, 127).astype(np.int8)
    largest.CopyFrom(onnx.numpy_helper.from_array(grown, largest.name))
    assert saturating_pairs(proto) > 1000
    entry = next(entry for entry in proto.metadata_props if entry.key == METADATA_KEY)
    entry.value = entry.value.replace('"saturation_free":true', '"saturation_free":false')
    path = tmp_path / "other.onnx"
    onnx.save(proto, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = preprocess(load_image(zoo.photos()[0]), load_runtime(zoo.resolve_model()).spec.input)[None]
    expected = session.run(None, {session.get_inputs()[0].name: image})
    found = load_runtime(path, runtime=runtime).run(image)
    for a, b in zip((found.logits, found.offsets), expected, strict=True):
        assert np.sqrt(np.square(a - b).mean() / np.square(b).mean()) < 0.1
