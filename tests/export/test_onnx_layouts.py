"""Layouts for clients against the package's own postprocessing, and what they refuse."""

import msgspec
import numpy as np
import pytest

from edgessd import Detector
from edgessd._cv2 import cv2
from edgessd.errors import EdgeSSDError, ModelError, OptionError, SpecError
from edgessd.export import onnx_file, onnx_layouts
from edgessd.model_file.contract import to_outputs
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.runtimes import load_runtime
from edgessd.runtimes.onnx import OnnxRuntime
from edgessd.spec import LAYOUTS, InputSpec, ModelSpec, OutputSpec
from edgessd.validation import validate

from .test_onnx_file import PRIORS, SIZE, raw_graph
from .test_onnx_file import SPEC as NARROW

onnx = pytest.importorskip("onnx")
# With room behind the last detection.
SPEC = msgspec.structs.replace(NARROW, defaults=msgspec.structs.replace(NARROW.defaults, max_detections=60))


def raised(rng, layout, path, **changes):
    """A file of a layout, its spec, and the detections that its raw outputs stand for."""
    spec = msgspec.structs.replace(SPEC, **changes)
    logits = rng.normal(0, 2, (PRIORS.count, spec.num_logits)).astype(np.float32)
    offsets = rng.normal(0, 1, (PRIORS.count, 4)).astype(np.float32)
    proto = raw_graph(onnx, spec, logits, offsets)
    final = onnx_layouts.raise_to(proto, spec, OutputSpec(level=LAYOUTS[layout].level, layout=layout))
    onnx_file.describe(proto, final)
    path.write_bytes(proto.SerializeToString())
    return final, postprocess(RawOutputs(logits[None], offsets[None]), spec, SIZE)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_layout_has_the_detections_of_its_raw_outputs(tmp_path, rng, layout, scores):
    spec, expected = raised(rng, layout, tmp_path / "model.onnx", scores=scores)
    assert 3 < len(expected.scores) < 60
    runtime = load_runtime(tmp_path / "model.onnx", threads=1)
    assert runtime.spec == spec
    assert [check.text for check in validate(tmp_path / "model.onnx") if check.passed is False] == []
    assert onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    found = postprocess(runtime.run(np.zeros((1, *spec.input.tensor_shape), np.float32)), spec, SIZE)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_opencvs_detection_model_opens_its_layout(tmp_path, rng):
    """Without a word about sizes or colours; with a picture in which nothing is, too."""
    spec, expected = raised(rng, "opencv", tmp_path / "model.onnx")
    assert (spec.input.channels, spec.input.mean, spec.input.scale) == ("BGR", (0, 0, 0), (1, 1, 1))
    model = cv2.dnn_DetectionModel(str(tmp_path / "model.onnx"))
    labels, scores, boxes = model.detect(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8), 0.4, 0)
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_array_equal(labels[order], expected.labels)
    np.testing.assert_allclose(scores[order], expected.scores, rtol=1e-5)
    corners = np.array(boxes)[order][:, :2]
    assert np.abs(corners - expected.boxes[:, :2]).max() < 1.01  # whole pixels, cut
    nothing = msgspec.structs.replace(spec.defaults, score_threshold=1.0)
    spec, expected = raised(rng, "opencv", tmp_path / "none.onnx", defaults=nothing)
    assert len(expected.scores) == 0
    with Detector.load(tmp_path / "none.onnx") as detector:
        assert detector.runtime.name.startswith("opencv")
        assert len(detector(np.zeros((10, 20, 3), np.uint8))) == 0
    assert len(cv2.dnn_DetectionModel(str(tmp_path / "none.onnx")).detect(np.zeros((10, 20, 3), np.uint8))[0]) == 0


def test_the_layout_of_opencv_is_for_opencv(tmp_path, rng):
    raised(rng, "opencv", tmp_path / "model.onnx")
    with pytest.raises(OptionError, match="layout opencv, which has no providers"):
        load_runtime(tmp_path / "model.onnx", providers=["cpu"])
    with pytest.raises(OptionError, match="batches of 1, not 2"):
        load_runtime(tmp_path / "model.onnx").run(np.zeros((2, *SPEC.input.tensor_shape), np.float32))
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:-3000])
    with pytest.raises(EdgeSSDError):
        load_runtime(tmp_path / "cut.onnx")


def test_rows_are_as_frigate_and_opencv_read_them(tmp_path, rng):
    spec, expected = raised(rng, "detections7", tmp_path / "model.onnx")
    session = OnnxRuntime(tmp_path / "model.onnx", threads=1)._session
    [rows] = session.run(["detections"], {"image": np.zeros((1, *spec.input.tensor_shape), np.float32)})
    assert rows.shape == (1, 1, 60, 7) and rows.dtype == np.float32
    count = len(expected.scores)
    image, label, score, *box = rows[0, 0, :count].T
    assert (image == 0).all() and (label == expected.labels).all()
    np.testing.assert_allclose(score, expected.scores, rtol=1e-6)
    np.testing.assert_allclose(np.array(box).T * np.tile(SIZE, 2), expected.boxes, atol=1e-3)
    assert (rows[0, 0, count:] == [-1, -1, 0, 0, 0, 0, 0]).all()


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_jetson_has_the_background_first(tmp_path, rng, scores):
    spec, _ = raised(rng, "jetson", tmp_path / "model.onnx", scores=scores)
    session = OnnxRuntime(tmp_path / "model.onnx", threads=1)._session
    assert [each.name for each in session.get_inputs()] == ["input_0"]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("scores", [1, PRIORS.count, 4]),
        ("boxes", [1, PRIORS.count, 4]),
    ]
    table = session.run(["scores"], {"input_0": np.zeros((1, *spec.input.tensor_shape), np.float32)})[0]
    rest = table[..., 1:].sum(2) if scores == "softmax" else table[..., 1:].max(2)
    np.testing.assert_allclose(table[..., 0], 1 - rest, atol=1e-6)


@pytest.mark.parametrize(
    "tensor",
    [
        InputSpec(width=4, height=2, mean=(127.5,) * 3, scale=(127.5,) * 3),
        InputSpec(width=4, height=2, mean=(123.7, 116.3, 103.5), scale=(58.4, 57.1, 57.4)),
        InputSpec(width=4, height=2, mean=(104.0, 117.0, 123.0), channels="BGR"),
    ],
)
@pytest.mark.parametrize("layout", list(onnx_layouts.INPUTS))
def test_a_clients_normalisation_is_turned_into_the_networks_own(rng, tensor, layout):
    import onnxruntime

    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Neg", ["image"], ["y"])],
        "negative",
        [helper.make_tensor_value_info("image", float32, [1, 3, 2, 4])],
        [helper.make_tensor_value_info("y", float32, [1, 3, 2, 4])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    given = onnx_layouts.INPUTS[layout]
    changed = onnx_layouts.take_pixels(proto, tensor, given)
    assert (changed.channels, changed.mean[0], changed.scale[0]) == given[:3]
    picture = rng.integers(0, 256, (2, 4, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    [answer] = session.run(None, {given.name or "image": preprocess(picture, changed)[None]})
    np.testing.assert_allclose(-answer[0], preprocess(picture, tensor), atol=1e-4)


def test_gates_are_spelt_out_for_opencv(rng):
    """Which takes x * HardSigmoid(y) for HardSwish(y)."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("HardSigmoid", ["mean"], ["gate"], alpha=0.1, beta=0.4),
            helper.make_node("Mul", ["image", "gate"], ["y"]),
        ],
        "gated",
        [helper.make_tensor_value_info("image", float32, [1, 3, 2, 4])],
        [helper.make_tensor_value_info("y", float32, [1, 3, 2, 4])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx_layouts.spell_out_gates(proto)
    image = rng.normal(0, 3, (1, 3, 2, 4)).astype(np.float32)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(proto.SerializeToString(), np.uint8))
    network.setInput(image)
    gate = np.clip(0.1 * image.mean((2, 3), keepdims=True) + 0.4, 0, 1)
    np.testing.assert_allclose(network.forward(["y"])[0], image * gate, atol=1e-5)


def test_what_a_layout_cannot_do_is_refused(rng):
    logits, offsets = np.zeros((PRIORS.count, 4), np.float32), np.zeros((PRIORS.count, 4), np.float32)
    proto = raw_graph(onnx, SPEC, logits, offsets)
    letterbox = msgspec.structs.replace(SPEC, input=InputSpec(width=20, height=10, resize="letterbox"))
    for layout in LAYOUTS:
        with pytest.raises(OptionError, match="stretch pictures"):
            onnx_layouts.raise_to(proto, letterbox, onnx_layouts.output_of(layout))
    whole = msgspec.structs.replace(SPEC.input, dtype="uint8", quantization_scale=1.0, quantization_zero_point=0)
    with pytest.raises(OptionError, match="float32 input NCHW, not uint8 NCHW"):
        onnx_layouts.check_layout("opencv", msgspec.structs.replace(SPEC, input=whole))
    with pytest.raises(OptionError, match="float files"):
        onnx_layouts.check_layout("jetson", msgspec.structs.replace(SPEC, precision="int8"))
    final = onnx_layouts.raise_to(proto, SPEC, onnx_layouts.output_of("detections7"))
    with pytest.raises(ModelError, match="nms, layout detections7: it cannot become nms"):
        onnx_layouts.raise_to(proto, final, OutputSpec(level="nms"))
    dimension = proto.graph.input[0].type.tensor_type.shape.dim[0]
    dimension.dim_value = 2
    with pytest.raises(ModelError, match="2 pictures at a time"):
        onnx_layouts.fix_batch(proto)


def test_a_spec_with_a_layout_says_its_level():
    assert OutputSpec(level="nms", layout="detections7").names == ("detections",)
    with pytest.raises(ValueError, match="layout jetson is of level decoded, not raw"):
        OutputSpec(layout="jetson")
    assert '"output":{"level":"raw","names":["logits","offsets"]}' in SPEC.to_json()  # as before there were layouts
    for layout in ("detections7", "standard"):
        spec = msgspec.structs.replace(SPEC, output=OutputSpec(level="nms", layout=layout))
        assert ModelSpec.from_json(spec.to_json()) == spec
        assert ModelSpec.from_json(spec.to_json()).to_json() == spec.to_json()
        assert ('"layout":"detections7"' in spec.to_json()) == (layout != "standard")
    with pytest.raises(SpecError, match=r"rows.*output\.layout"):
        ModelSpec.from_json(SPEC.to_json().replace('"level":"raw"', '"level":"raw","layout":"rows"'))


def test_rows_that_are_none_end_the_detections(tmp_path, rng, make_onnx):
    """Files are not trusted: no number, a label beyond integers, or no image at all."""
    spec = msgspec.structs.replace(make_onnx.level_spec("nms"), output=onnx_layouts.output_of("detections7"))
    rows = np.array([[0, 1, 0.9, 0, 0, 1, 1], [0, np.nan, 0.8, 0, 0, 1, 1], [0, 0, 0.7, 0, 0, 1, 1]], np.float32)
    for wrong, count in ((None, 1), ([0, 1e30, 0.9, 0, 0, 1, 1], 0), ([-1, -1, 0, 0, 0, 0, 0], 0)):
        rows[0] = rows[0] if wrong is None else wrong
        found = to_outputs(spec, [rows[None, None]])
        assert found.counts.tolist() == [count]
        assert len(postprocess(found, spec, (8, 4)).scores) == count


def test_a_bundled_file_is_raised_to_rows_for_frigate(tmp_path):
    from edgessd import zoo
    from edgessd.export.final import final_onnx

    bundled = zoo.resolve_model(None, "onnx")
    data, spec = final_onnx(bundled, "detections7")
    assert spec.output.names == ("detections",)
    (tmp_path / "rows.onnx").write_bytes(data)
    photo = zoo.photos()[0]
    ours, known = Detector.load(tmp_path / "rows.onnx", threads=1)(photo), Detector.load(bundled, threads=1)(photo)
    assert ours.names == known.names and len(known) > 0
    np.testing.assert_allclose(ours.boxes, known.boxes, atol=0.1)
    np.testing.assert_allclose(ours.scores, known.scores, atol=1e-4)
    with pytest.raises(SpecError, match="no detections can be made"):
        final_onnx(tmp_path / "rows.onnx")
