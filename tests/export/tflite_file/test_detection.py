"""The suppression inside a file against `ops.postprocess` on the same raw outputs."""

import msgspec
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgessd.errors import ModelError
from edgessd.export.tflite_file import append_detection_postprocess, describe
from edgessd.export.tflite_file.editor import Editor, text
from edgessd.ops.boxes import decode, iou_matrix
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.spec import METADATA_KEY, CoderSpec, ModelSpec, OutputSpec, Thresholds

BLACK = np.zeros((1, 4, 4, 3), np.float32)
ORDER = ["boxes", "labels", "scores", "count"]


def found_by(run, spec, file, image=BLACK, **options):
    out = run(append_detection_postprocess(file, spec), image, **options)
    count = int(out["count"])
    return out["boxes"][:count][:, [1, 0, 3, 2]], out["scores"][:count], out["labels"][:count].astype(int)


def expected_of(spec, logits, offsets):
    return postprocess(RawOutputs(logits[None], offsets[None]), spec, (1, 1))


def assert_same(found, expected):
    boxes, scores, labels = found
    assert len(scores) == len(expected.scores)
    assert (np.diff(scores) <= 0).all()
    free = np.ones(len(scores), bool)
    for box, score, label in zip(*expected, strict=True):
        fits = free & (labels == label) & (np.abs(scores - score) < 1e-5)
        fits &= (iou_matrix(box[None], boxes)[0] >= 0.99) | (np.abs(boxes - box).max(axis=1) < 1e-5)
        assert fits.any(), (box, score, label)
        free[np.flatnonzero(fits)[0]] = False


@pytest.mark.parametrize("kernels", [OpResolverType.AUTO, OpResolverType.BUILTIN_REF])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
def test_detections_are_those_of_postprocess(make_spec, make_raw, outputs, run, scores, threshold, kernels):
    for most in (3, 200):
        limits = Thresholds(score_threshold=threshold, iou_threshold=0.45, max_detections=most)
        spec = make_spec(scores=scores, defaults=limits)
        logits, offsets = outputs(spec, level=-2.0)
        expected = expected_of(spec, logits, offsets)
        assert len(expected.scores) > 2
        found = found_by(run, spec, make_raw(spec, logits, offsets), experimental_op_resolver_type=kernels)
        assert_same(found, expected)


@pytest.mark.parametrize("change", ["exclude_boundary", "clip", "coder"])
def test_options_of_priors_and_coder(make_spec, make_raw, outputs, run, change):
    spec = make_spec()
    if change == "coder":
        spec = msgspec.structs.replace(spec, coder=CoderSpec(center_variance=0.3, size_variance=0.5))
    else:
        spec = msgspec.structs.replace(spec, priors=msgspec.structs.replace(spec.priors, **{change: True}))
    logits, offsets = outputs(spec, level=-1.0)
    expected = expected_of(spec, logits, offsets)
    if change == "exclude_boundary":
        assert 0 < inside_mask(spec.priors).sum() < spec.priors.count
    assert_same(found_by(run, spec, make_raw(spec, logits, offsets)), expected)
    plain = expected_of(make_spec(), logits, offsets)
    assert not np.array_equal(expected.boxes, plain.boxes)


def test_boxes_are_cut_before_the_suppression(make_spec, make_raw, run):
    """Two boxes that differ outside of the picture only."""
    spec = make_spec(defaults=Thresholds(score_threshold=0.3, iou_threshold=0.5))
    logits = np.full((spec.priors.count, 3), -9, np.float32)
    offsets = np.zeros((spec.priors.count, 4), np.float32)
    offsets[:, 2:] = np.log(8) / spec.coder.size_variance
    logits[[0, 89], 0] = 2, 1
    first, second = decode(offsets[[0, 89]], prior_boxes(spec.priors)[[0, 89]], spec.coder)
    assert iou_matrix(first[None], second[None]) < 0.2
    boxes, scores, _ = found_by(run, spec, make_raw(spec, logits, offsets))
    np.testing.assert_allclose(boxes, [[0, 0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2))], atol=1e-6)


def test_boxes_outside_of_the_picture_are_left_out(make_spec, make_raw, run):
    spec = make_spec()
    logits = np.full((spec.priors.count, 3), -9, np.float32)
    offsets = np.zeros((spec.priors.count, 4), np.float32)
    logits[[0, 3, 6, 9], 1] = 4, 3, 2, 1
    offsets[0, 0], offsets[3, 1] = 1000, -1000  # far to the right, far above
    offsets[6, 2] = -10_000  # no width
    found = found_by(run, spec, make_raw(spec, logits, offsets))
    assert found[2].tolist() == [1]
    assert_same(found, expected_of(spec, logits, offsets))


@pytest.mark.parametrize("wild", [1e30, -1e30, np.inf, -np.inf])
def test_wild_offsets_spoil_nothing_else(make_spec, make_raw, run, wild):
    spec = make_spec()
    logits = np.full((spec.priors.count, 3), -9, np.float32)
    offsets = np.zeros((spec.priors.count, 4), np.float32)
    logits[40, 2] = 3
    offsets[:30] = wild
    boxes, _, labels = found_by(run, spec, make_raw(spec, logits, offsets))
    assert labels.tolist() == [2]
    np.testing.assert_allclose(boxes, expected_of(spec, logits, offsets).boxes, atol=1e-6)


def test_nothing_found(make_spec, make_raw, run):
    spec = make_spec()
    logits = np.full((spec.priors.count, 3), -9, np.float32)
    data = append_detection_postprocess(make_raw(spec, logits, np.zeros((90, 4), np.float32)), spec)
    out = run(data, BLACK)
    assert out["count"] == 0
    assert not out["boxes"].any() and not out["scores"].any() and not out["labels"].any()
    assert out["boxes"].shape == (20, 4)


def test_a_score_at_the_threshold_is_none(make_spec, make_raw, run):
    spec = make_spec(defaults=Thresholds(score_threshold=0.5))
    logits = np.full((spec.priors.count, 3), -9, np.float32)
    logits[0, 0], logits[50, 1] = 0.0, 1e-3
    _, _, labels = found_by(run, spec, make_raw(spec, logits, np.zeros((90, 4), np.float32)))
    assert labels.tolist() == [1]


def test_an_integer_network_is_dequantised_first(make_spec, make_raw, outputs, run):
    spec = make_spec()
    logits, offsets = outputs(spec, level=-1.0)
    file = make_raw(spec, logits, offsets, dtype="int8")
    black = np.full((1, 4, 4, 3), -128, np.int8)
    steps = [np.float32(float(np.abs(values).max() / 127)) for values in (logits, offsets)]
    rounded = [np.rint(v / s).astype(np.float32) * s for v, s in zip((logits, offsets), steps, strict=True)]
    raw = run(describe(file, spec), black)
    assert raw["logits"].dtype == np.int8
    expected = expected_of(spec, *rounded)
    assert len(expected.scores) > 2
    assert_same(found_by(run, spec, file, black), expected)


def test_the_file_says_what_it_is(make_spec, make_raw, outputs):
    spec = make_spec()
    data = append_detection_postprocess(make_raw(spec, *outputs(spec)), spec)
    editor = Editor(data)
    assert list(editor.outputs()) == ORDER
    entry = next(entry for entry in editor.model.metadata if text(entry.name) == METADATA_KEY)
    inside = ModelSpec.from_json(bytes(editor.model.buffers[entry.buffer].data))
    assert inside == msgspec.structs.replace(spec, output=OutputSpec(level="nms"))
    assert list(Editor(describe(data, inside)).outputs()) == ORDER


def test_pycorals_get_objects_finds_its_outputs(make_spec, make_raw, outputs, run):
    """Its contract (pycoral, adapters/detect.py): where a signature is, it reads output_0 to output_3, by index."""
    spec = make_spec()
    data = append_detection_postprocess(make_raw(spec, *outputs(spec, level=-1.0)), spec)
    data = describe(data, msgspec.structs.replace(spec, output=OutputSpec(level="nms")))
    engine = Interpreter(model_content=data)
    engine.allocate_tensors()
    [signature] = engine._get_full_signature_list().values()
    engine.set_tensor(engine.get_input_details()[0]["index"], BLACK)
    engine.invoke()
    answer = {key: engine.get_tensor(index) for key, index in signature["outputs"].items()}
    known = run(data, BLACK)
    assert int(answer["output_0"][0]) == known["count"] > 0
    for key, name in (("output_1", "scores"), ("output_2", "labels"), ("output_3", "boxes")):
        np.testing.assert_array_equal(answer[key][0], known[name])
    # By order, as MediaPipe and older programs have it.
    assert [detail["name"] for detail in engine.get_output_details()] == ORDER


def test_only_raw_files_take_it(make_spec, make_raw, outputs):
    spec = make_spec()
    data = append_detection_postprocess(make_raw(spec, *outputs(spec)), spec)
    with pytest.raises(ModelError, match="of level nms"):
        append_detection_postprocess(data, msgspec.structs.replace(spec, output=OutputSpec(level="nms")))
    with pytest.raises(ModelError, match="outputs of the TFLite file have shapes"):
        append_detection_postprocess(data, spec)
