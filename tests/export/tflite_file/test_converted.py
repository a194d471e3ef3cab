"""The edits on a trained network, as the converter writes it."""

import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgessd.export.tflite_file import (
    add_phone_metadata,
    append_detection_postprocess,
    describe,
    fold_paddings,
    normalize_inside,
    picture_input,
)
from edgessd.export.tflite_file.editor import Editor, schema
from edgessd.io.images import load_image
from edgessd.ops.boxes import iou_matrix
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.spec import OutputSpec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    weights = Path(__file__).resolve().parents[4] / "shared/weights/ssdlite_mobilenet_v2_coco.safetensors"
    if not weights.is_file():
        pytest.skip("needs the development data beside the project (../shared)")
    path = tmp_path_factory.mktemp("tflite") / "model.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own
        litert_torch = pytest.importorskip("litert_torch")
        import torch

        from edgessd.models.fold import fold_batch_norm
        from edgessd.models.weights import tensorflow_ssdlite

        model, spec = tensorflow_ssdlite(weights)
        network = litert_torch.to_channel_last_io(fold_batch_norm(model, torch.zeros(1, 3, 300, 300)), args=[0])
        litert_torch.convert(network.eval(), (torch.zeros(1, 300, 300, 3),)).export(str(path))
    return path.read_bytes(), msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, layout="NHWC"))


def pictures(shared):
    return [load_image(path) for path in sorted((shared / "data/photos").rglob("*.*g"))[:6]]


def test_no_padding_and_no_transpose_is_left(converted, shared, run):
    before, spec = converted
    before, after = describe(before, spec), describe(fold_paddings(before), spec)
    editor = Editor(after)
    kinds = {editor.kind(operator) for operator in editor.operators}
    assert not kinds & {schema.BuiltinOperator.PAD, schema.BuiltinOperator.TRANSPOSE}
    tensor = preprocess(pictures(shared)[0], spec.input)[None]
    expected, found = run(before, tensor), run(after, tensor)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)


def test_detections_of_photos_are_those_of_postprocess(converted, shared, run):
    data, spec = converted
    raw = describe(data, spec)
    final = append_detection_postprocess(data, spec)
    tensor_spec = picture_input(spec.input)
    spec_nms = msgspec.structs.replace(spec, input=tensor_spec, output=OutputSpec(level="nms"))
    phone = add_phone_metadata(describe(normalize_inside(final, spec.input), spec_nms), spec_nms)
    number = 0
    for picture in pictures(shared):
        floats = run(raw, preprocess(picture, spec.input)[None])
        expected = postprocess(RawOutputs(floats["logits"][None], floats["offsets"][None]), spec, (1, 1))
        found = run(phone, preprocess(picture, tensor_spec)[None])
        count = int(found["count"])
        assert count == len(expected.scores)
        np.testing.assert_allclose(found["scores"][:count], expected.scores, atol=1e-4)
        np.testing.assert_array_equal(found["labels"][:count], expected.labels)
        overlaps = iou_matrix(found["boxes"][:count][:, [1, 0, 3, 2]], expected.boxes).diagonal()
        assert (overlaps >= 0.99).all()
        number += count
    assert number > 10
