"""The bundled models: their names, their files, and that both files of a model say the same."""

import msgspec
import pytest

from edgessd import Detector, zoo
from edgessd.errors import ModelError
from edgessd.io.images import load_image
from edgessd.model_file import read_spec, validate


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
    assert spec.provenance.metrics["coco/val206/AP"] >= 29.9


def test_both_files_of_a_model_see_the_same():
    pytest.importorskip("ai_edge_litert")
    specs = [read_spec(zoo.resolve_model(f"edgessd-coco{suffix}")) for suffix in ("", ".tflite")]
    assert msgspec.structs.replace(specs[0], input=specs[1].input, quantization=specs[1].quantization) == specs[1]
    with Detector.load() as one, Detector.load(runtime="litert") as other:
        for photo in map(load_image, zoo.photos()):
            mine, theirs = one(photo), other(photo)
            assert mine.names == theirs.names
            assert abs(mine.boxes - theirs.boxes).max() < 0.02 * max(mine.image_size)
            assert abs(mine.scores - theirs.scores).max() < 0.03
