"""The bundled models: their names, their files, and that both files of a model say the same."""

import msgspec
import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.classes.coco import COCO_CLASSES, COCO_IDS
from edgessd.errors import ModelError
from edgessd.io.images import load_image
from edgessd.model_file import read_spec
from edgessd.ops.boxes import iou_matrix
from edgessd.validation import validate


def test_a_name_is_an_onnx_file_and_a_tflite_file():
    assert zoo.resolve_model() == zoo.resolve_model("edgessd-coco")
    assert zoo.resolve_model("edgessd-coco").suffix == ".onnx"
    assert zoo.resolve_model("edgessd-coco", "litert") == zoo.resolve_model("edgessd-coco.tflite")
    assert zoo.resolve_model("edgessd-coco.tflite").is_file()
    assert not zoo.resolve_model("missing.tflite").exists()
    with pytest.raises(ModelError, match="did you mean 'edgessd-coco'"):
        zoo.resolve_model("edgessd-coko")


@pytest.mark.parametrize("name", ["edgessd-coco", "edgessd-coco.tflite"])
def test_the_files_keep_to_the_contract(name):
    path = zoo.resolve_model(name)
    assert [check for check in validate(path) if check.passed is False] == []
    assert path.stat().st_size <= 5.4e6
    spec = read_spec(path)
    assert (spec.name, spec.precision, spec.input.dtype) == ("edgessd-coco", "int8", "uint8")
    assert (spec.classes, spec.category_ids) == (COCO_CLASSES, COCO_IDS)
    assert spec.provenance.metrics["coco/val206/AP"] >= 29.83  # float: 30.03


def test_both_files_of_a_model_see_the_same():
    pytest.importorskip("ai_edge_litert")
    specs = [read_spec(zoo.resolve_model(f"edgessd-coco{suffix}")) for suffix in ("", ".tflite")]
    assert msgspec.structs.replace(specs[0], input=specs[1].input, quantization=specs[1].quantization) == specs[1]
    with Detector.load() as one, Detector.load(runtime="litert") as other:
        threshold = one.spec.defaults.score_threshold
        for photo in map(load_image, zoo.photos()):
            for mine, theirs in ((one(photo), other(photo)), (other(photo), one(photo))):
                for found in mine:
                    if found.score < threshold + 0.05:  # the other file may have it just below
                        continue
                    overlaps = iou_matrix(theirs.boxes, np.array([found.box], np.float32))[:, 0]
                    partners = [each for each, overlap in zip(theirs, overlaps, strict=True) if overlap > 0.8]
                    assert any(each.name == found.name and abs(each.score - found.score) < 0.05 for each in partners)
