"""Every format, precision and level, from a tiny network: one table."""

import json
import shutil

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from edgessd import Detector
from edgessd._cv2 import cv2
from edgessd.errors import ModelError, OptionError
from edgessd.export import export_model
from edgessd.export.checked import export_checked
from edgessd.export.inventory import inventory
from edgessd.export.verify import LIMITS, verify
from edgessd.io.images import load_image
from edgessd.models.checkpoint import save_checkpoint
from edgessd.ops.preprocess import preprocess
from edgessd.quantization import calibrate, calibration_pictures, prepare_network, pt2e, save_quantized
from edgessd.runtimes import load_runtime

from ..quantization.conftest import picture_folder, quantized, small, small_model  # noqa: F401

SUFFIX = {"onnx": ".onnx", "tflite": ".tflite", "openvino": ".xml"}
ENGINE = {"onnx": "onnxruntime", "tflite": "ai_edge_litert", "openvino": "openvino"}
CASES = [(f, p, "raw") for f in SUFFIX for p in ("fp32", "fp16", "int8")]
CASES += [(f, "int8", "nms") for f in SUFFIX] + [("onnx", "int8", "decoded")]
CASES += [pytest.param(f, "int8", "decoded", marks=pytest.mark.slow) for f in ("tflite", "openvino")]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, small, quantized):  # noqa: F811
    folder = tmp_path_factory.mktemp("checkpoints")
    model, spec = small
    limits = msgspec.structs.replace(spec.defaults, score_threshold=0.4, max_detections=20)
    spec = msgspec.structs.replace(spec, defaults=limits)
    save_checkpoint(folder / "float.safetensors", model, spec)
    network = type(quantized)(
        quantized.graph, msgspec.structs.replace(quantized.spec, defaults=limits), quantized.recipe
    )
    network.recipe = msgspec.structs.replace(network.recipe, source=spec)
    save_quantized(folder / "int8.safetensors", network)
    return folder


@pytest.mark.parametrize(("format", "precision", "level"), CASES)
def test_an_exported_file_answers_as_its_checkpoint(tmp_path, checkpoints, picture_folder, format, precision, level):  # noqa: F811
    pytest.importorskip(ENGINE[format])
    source = checkpoints / ("int8.safetensors" if precision == "int8" else "float.safetensors")
    file = tmp_path / f"model{SUFFIX[format]}"
    spec = export_model(source, file, level=level)
    assert (spec.precision, spec.output.level) == (precision if precision == "int8" else "fp32", level)
    if precision == "fp16":
        spec = export_model(source, file, level=level, precision="fp16")
    pictures = sorted(picture_folder.iterdir())
    # The tiny network's random weights score everything alike: agreement is looser than for a trained one.
    report = verify(file, source, images=pictures, limits=msgspec.structs.replace(LIMITS[precision], agreement=0.6))
    assert report.failures == ()
    assert report.precision == precision
    if precision == "int8":
        assert spec.input.dtype == "uint8"
        assert report.integer_share >= 0.95
        assert inventory(file).convolutions_in_float == ()
    with Detector.load(file) as detector:
        assert detector.spec == spec
        assert detector(pictures[0]).timings["run"] > 0


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        ("onnx", "int8"),
        *(
            pytest.param(format, precision, marks=pytest.mark.slow)
            for format in SUFFIX
            for precision in ("fp32", "int8")
            if (format, precision) != ("onnx", "int8")
        ),
    ],
)
def test_a_top_down_step_is_exported(tmp_path, picture_folder, format, precision):  # noqa: F811
    """The map of 11 x 11 cells is enlarged to 22 x 22 and cut to 21 x 21."""
    pytest.importorskip(ENGINE[format])
    model, spec = small_model(size=164, top_down=24)
    assert [level.rows for level in spec.priors.levels][:2] == [21, 11]
    source = tmp_path / "source.safetensors"
    if precision == "int8":
        network = prepare_network(model, spec)
        [enlarged] = [node for node in network.graph.graph.nodes if "upsample" in str(node.target)]
        assert all(pt2e.is_fake_quantizer(network.graph, user) for user in enlarged.users)
        calibrate(network, calibration_pictures(picture_folder))
        save_quantized(source, network)
    else:
        save_checkpoint(source, model, spec)
    file = tmp_path / f"model{SUFFIX[format]}"
    export_model(source, file)
    report = verify(
        file, source, images=picture_folder, limits=msgspec.structs.replace(LIMITS[precision], agreement=0.6)
    )
    assert report.failures == ()
    assert precision == "fp32" or report.integer_share >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "layout", "precision"),
    [
        ("onnx", "opencv", "int8"),
        ("onnx", "jetson", "fp32"),
        *(("openvino", "detections7", precision) for precision in ("fp32", "int8")),
    ],
)
def test_a_layout_answers_as_its_checkpoint(tmp_path, checkpoints, picture_folder, format, layout, precision):  # noqa: F811
    pytest.importorskip(ENGINE[format])
    source = checkpoints / ("int8.safetensors" if precision == "int8" else "float.safetensors")
    file = tmp_path / f"model{SUFFIX[format]}"
    spec = export_model(source, file, layout=layout)
    assert (spec.output.layout, spec.precision) == (layout, precision)
    limits = msgspec.structs.replace(LIMITS[precision], agreement=0.6)
    report = verify(file, source, images=sorted(picture_folder.iterdir())[:4], limits=limits)
    assert report.failures == () and report.detections[1] > 0


@pytest.mark.slow
def test_an_int8_file_that_takes_floats_is_right_in_opencv(tmp_path, checkpoints, picture_folder):  # noqa: F811
    """In the engine of OpenCV 4, too, which cuts the bytes of a uint8 input off at 127."""
    file = tmp_path / "model.onnx"
    export_model(checkpoints / "int8.safetensors", file, level="decoded", tensor="float32", batch=1)
    engine = (cv2.dnn.ENGINE_CLASSIC,) if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ()
    network = cv2.dnn.readNetFromONNX(str(file), *engine)
    runtime = load_runtime(file, threads=1)
    for path in sorted(picture_folder.iterdir())[:4]:
        picture = preprocess(load_image(path), runtime.spec.input)[None]
        network.setInput(picture)
        scores, boxes = network.forward(["scores", "boxes"])
        known = runtime.run(picture)
        assert np.sqrt(np.mean((scores - known.scores) ** 2) / np.mean(known.scores**2)) < 0.05
        assert np.sqrt(np.mean((boxes - known.boxes) ** 2) / np.mean(known.boxes**2)) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "rows"}, "onnx has no layout 'rows'"),
        ({"layout": "jetson", "level": "raw"}, "layout jetson is of level decoded, not raw"),
        ({"layout": "detections7", "batch": 2}, "take 1 picture at a time, not 2"),
        ({"layout": "opencv", "tensor": "uint8"}, "onnx with layout opencv take float32 input, not uint8"),
    ],
)
def test_layouts_refuse_what_they_cannot_do(tmp_path, checkpoints, options, message):
    with pytest.raises(OptionError, match=message):
        export_model(checkpoints / "float.safetensors", tmp_path / "model.onnx", **options)
    with pytest.raises(OptionError, match="tflite has no layout"):
        export_model(checkpoints / "float.safetensors", tmp_path / "model.tflite", layout="opencv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("level", "options"), [("raw", {"tensor": "uint8"}), ("nms", {})])
def test_float_files_for_phones_take_bytes(tmp_path, checkpoints, picture_folder, level, options):  # noqa: F811
    """As asked for; and at level nms where the channels differ, which MediaPipe refuses to normalise."""
    pytest.importorskip("ai_edge_litert")
    source = checkpoints / "float.safetensors"
    spec = export_model(source, tmp_path / "model.tflite", level=level, **options)
    assert (spec.precision, spec.input.dtype) == ("fp32", "uint8")
    report = verify(tmp_path / "model.tflite", source, images=picture_folder)
    assert report.failures == ()
    assert level == "nms" or max(report.rms_logits, report.rms_offsets) < 1e-4


def test_a_file_with_its_thresholds_inside_is_measured_on_data(tmp_path, checkpoints, picture_folder):  # noqa: F811
    pictures = sorted(picture_folder.iterdir())[:2]
    labels = {
        "images": [{"id": i, "file_name": each.name, "width": 160, "height": 120} for i, each in enumerate(pictures)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 10, 40, 30], "area": 1200}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "cat"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for each in pictures:
        shutil.copy(each, tmp_path)
    report = export_checked(
        *(checkpoints / "float.safetensors", tmp_path / "model.onnx"),
        level="nms",
        images=picture_folder,
        data=str(tmp_path / "labels.json"),
    )
    assert 0 <= report.accuracy["mAP"] <= 100


def test_two_formats_of_one_quantised_checkpoint_hold_the_same_scales(tmp_path, checkpoints):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    export_model(checkpoints / "int8.safetensors", tmp_path / "m.onnx")
    export_model(checkpoints / "int8.safetensors", tmp_path / "m.tflite", tensor="int8")
    graph = onnx.load(tmp_path / "m.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    known = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and constants[node.input[1]].size == 1:
            known.add((float(constants[node.input[1]].reshape(-1)[0]), int(constants[node.input[2]].reshape(-1)[0])))
    model = schema.ModelT.InitFromPackedBuf(bytearray((tmp_path / "m.tflite").read_bytes()), 0)
    graph = model.subgraphs[0]
    made = [tensor for op in graph.operators for tensor in op.outputs]
    scales = set()
    for index in made:
        found = graph.tensors[index].quantization
        if found is not None and found.scale is not None and len(found.scale) == 1:
            scales.add((float(found.scale[0]), int(found.zeroPoint[0]) + 128))
    assert len(scales) > 30
    assert all(any(abs(s - k) <= 1e-6 * k and z == n for k, n in known) for s, z in scales)


def test_nms_level_onnx_needs_no_edgessd(tmp_path, checkpoints, picture_folder):  # noqa: F811
    """Plain onnxruntime, any batch; what it returns is what `detect` returns of the raw file."""
    export_model(checkpoints / "float.safetensors", tmp_path / "raw.onnx")
    export_model(checkpoints / "float.safetensors", tmp_path / "nms.onnx", level="nms")
    session = onnxruntime.InferenceSession(tmp_path / "nms.onnx", providers=["CPUExecutionProvider"])
    pictures = [load_image(path) for path in sorted(picture_folder.iterdir())[:3]]
    with Detector.load(tmp_path / "raw.onnx") as detector:
        batch = np.stack([preprocess(picture, detector.spec.input) for picture in pictures])
        boxes, scores, labels, count = session.run(["boxes", "scores", "labels", "count"], {"image": batch})
        most = 0
        for row, picture in enumerate(pictures):
            found = detector(picture)
            size = np.array([*found.image_size] * 2)
            assert count[row] == len(found)
            np.testing.assert_allclose(scores[row, : count[row]], found.scores, atol=1e-5)
            np.testing.assert_array_equal(labels[row, : count[row]], found.labels)
            np.testing.assert_allclose(boxes[row, : count[row]] * size, found.boxes, atol=1e-2)
            assert not scores[row, count[row] :].any() and (labels[row, count[row] :] == -1).all()
            most = max(most, len(found))
    assert most > 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "onxx"}, "unknown format 'onxx'.*did you mean 'onnx'"),
        ({"level": "final"}, "onnx has no level 'final'"),
        ({"precision": "int4"}, "onnx has no precision 'int4'"),
        ({"precision": "int8"}, "needs a quantised checkpoint.*edgessd quantize"),
        ({"batch": 0}, "at least 1"),
        ({"opset": 9}, "opset is 18 to 23"),
        ({"tensor": "uint8"}, "take float32 input, not uint8"),
        ({"format": "tflite"}, "tflite files end in .tflite"),
    ],
)
def test_what_a_format_cannot_do_is_refused_by_name(tmp_path, checkpoints, options, says):
    with pytest.raises(OptionError, match=says):
        export_model(checkpoints / "float.safetensors", tmp_path / "model.onnx", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("model.tflite", {"batch": 2}, "1 picture at a time, not 2"),
        ("model.tflite", {"batch": "dynamic"}, "1 picture at a time, not dynamic"),
        ("model.xml", {"opset": 18}, "opset is for ONNX"),
        ("model.bin", {}, "which format is model.bin"),
    ],
)
def test_options_of_other_formats_are_refused(tmp_path, checkpoints, name, options, says):
    with pytest.raises(OptionError, match=says):
        export_model(checkpoints / "float.safetensors", tmp_path / name, **options)


def test_a_quantised_checkpoint_has_no_float_files(tmp_path, checkpoints):
    with pytest.raises(OptionError, match="its files are int8"):
        export_model(checkpoints / "int8.safetensors", tmp_path / "model.onnx", precision="fp32")


def test_a_missing_folder_or_checkpoint_is_one_line(tmp_path, checkpoints):
    with pytest.raises(ModelError, match="there is no folder"):
        export_model(checkpoints / "float.safetensors", tmp_path / "none" / "model.onnx")
    with pytest.raises(ModelError, match="no such checkpoint"):
        export_model(tmp_path / "none.safetensors", tmp_path / "model.onnx")


def test_a_file_beyond_the_limits_is_not_written_but_reported(tmp_path, checkpoints, picture_folder):  # noqa: F811
    target = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="does not answer as its checkpoint: relative RMS of the logits"):
        export_checked(checkpoints / "int8.safetensors", target, images=picture_folder, max_rms=1e-9)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.verify.json"]
    report = json.loads((tmp_path / "model.onnx.verify.json").read_text())
    assert report["failures"] and report["precision"] == "int8"


def test_a_good_file_is_written_with_its_report(tmp_path, checkpoints):
    target = tmp_path / "model.onnx"
    report = export_checked(checkpoints / "float.safetensors", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.verify.json"]
    assert report.pictures == 4  # the bundled photographs
    assert report.rms_logits < 1e-4
    shutil.copy(target, tmp_path / "copy.onnx")
    assert load_runtime(tmp_path / "copy.onnx").spec.precision == "fp32"


def test_a_full_disk_leaves_nothing_behind(tmp_path, checkpoints, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ModelError, match="No space left"):
        export_model(checkpoints / "float.safetensors", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
