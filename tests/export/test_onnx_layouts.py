"""Layouts for clients against the package's own postprocessing, and what they refuse."""

import msgspec
import numpy as np
import pytest

from edgessd import Detector
from edgessd.errors import ModelError, OptionError, SpecError
from edgessd.export import onnx_file, onnx_layouts
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.runtimes.contract import to_outputs
from edgessd.runtimes.onnx import OnnxRuntime
from edgessd.spec import LAYOUTS, InputSpec, ModelSpec, OutputSpec

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
    runtime = OnnxRuntime(tmp_path / "model.onnx", threads=1)
    assert runtime.spec == spec
    assert runtime._session.get_inputs()[0].shape[0] == 1
    found = postprocess(runtime.run(np.zeros((1, *spec.input.tensor_shape), np.float32)), spec, SIZE)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


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
def test_jetsons_normalisation_is_turned_into_the_networks_own(rng, tensor):
    import onnxruntime

    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Neg", ["image"], ["y"])],
        "negative",
        [helper.make_tensor_value_info("image", float32, [1, 3, 2, 4])],
        [helper.make_tensor_value_info("y", float32, [1, 3, 2, 4])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    changed = onnx_layouts.take_normalized(proto, tensor)
    assert (changed.channels, changed.mean, changed.scale) == ("RGB", (127.5,) * 3, (127.5,) * 3)
    rgb = rng.integers(0, 256, (1, 3, 2, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    [answer] = session.run(None, {"input_0": (rgb - 127.5) / 127.5})
    planes = rgb[:, ::-1] if tensor.channels == "BGR" else rgb
    mean, scale = (np.array(values)[None, :, None, None] for values in (tensor.mean, tensor.scale))
    np.testing.assert_allclose(-answer, (planes - mean) / scale, atol=1e-4)


def test_what_a_layout_cannot_do_is_refused(rng):
    logits, offsets = np.zeros((PRIORS.count, 4), np.float32), np.zeros((PRIORS.count, 4), np.float32)
    proto = raw_graph(onnx, SPEC, logits, offsets)
    letterbox = msgspec.structs.replace(SPEC, input=InputSpec(width=20, height=10, resize="letterbox"))
    for layout in LAYOUTS:
        with pytest.raises(OptionError, match="stretch pictures"):
            onnx_layouts.raise_to(proto, letterbox, onnx_layouts.output_of(layout))
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
    from edgessd.apps.bundle.final import final_onnx

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
