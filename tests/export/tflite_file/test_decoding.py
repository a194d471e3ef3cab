import msgspec
import numpy as np
import pytest

from edgessd.errors import ModelError
from edgessd.export.tflite_file import append_decoding
from edgessd.export.tflite_file.editor import Editor
from edgessd.ops.boxes import decode
from edgessd.ops.outputs import DecodedOutputs, RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.ops.scores import sigmoid, softmax
from edgessd.spec import CoderSpec, OutputSpec

BLACK = np.zeros((1, 4, 4, 3), np.float32)


@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
def test_scores_and_boxes_are_those_of_ops(make_spec, make_raw, outputs, run, scores):
    spec = make_spec(scores=scores, coder=CoderSpec(center_variance=0.2, size_variance=0.3))
    logits, offsets = outputs(spec)
    offsets[:5, 2:] = 1e4  # bounded
    found = run(append_decoding(make_raw(spec, logits, offsets), spec), BLACK)
    assert list(found) == ["scores", "boxes"]
    expected = sigmoid(logits) if scores == "sigmoid" else softmax(logits)[:, 1:]
    np.testing.assert_allclose(found["scores"], expected, atol=1e-6)
    np.testing.assert_allclose(
        found["boxes"], decode(offsets, prior_boxes(spec.priors), spec.coder), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("exclude", [False, True])
def test_detections_are_those_of_the_raw_level(make_spec, make_raw, outputs, run, exclude):
    spec = make_spec()
    spec = msgspec.structs.replace(spec, priors=msgspec.structs.replace(spec.priors, exclude_boundary=exclude))
    logits, offsets = outputs(spec, level=-1.0)
    found = run(append_decoding(make_raw(spec, logits, offsets), spec), BLACK)
    assert (found["scores"] == 0).all(axis=1).any() == exclude
    if exclude:
        assert not found["scores"][~inside_mask(spec.priors)].any()
    expected = postprocess(RawOutputs(logits[None], offsets[None]), spec, (640, 480))
    result = postprocess(DecodedOutputs(found["scores"][None], found["boxes"][None]), spec, (640, 480))
    assert result.labels.tolist() == expected.labels.tolist() and len(expected.labels) > 2
    np.testing.assert_allclose(result.boxes, expected.boxes, atol=1e-2)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-6)


def test_an_integer_network_is_dequantised_first(make_spec, make_raw, outputs, run):
    spec = make_spec()
    logits, offsets = outputs(spec)
    data = append_decoding(make_raw(spec, logits, offsets, dtype="int8"), spec)
    found = run(data, np.full((1, 4, 4, 3), -128, np.int8))
    step = float(np.abs(logits).max() / 127)
    assert found["scores"].dtype == np.float32
    np.testing.assert_allclose(found["scores"], sigmoid(logits), atol=step / 8 + 1e-6)
    assert list(Editor(data).outputs()) == ["scores", "boxes"]


def test_only_raw_files_can_be_decoded(make_spec, make_raw, outputs):
    spec = make_spec()
    data = append_decoding(make_raw(spec, *outputs(spec)), spec)
    with pytest.raises(ModelError, match="of level decoded"):
        append_decoding(data, msgspec.structs.replace(spec, output=OutputSpec(level="decoded")))
