import msgspec
import numpy as np
import pytest

from edgessd import Detector, zoo
from edgessd.errors import DependencyError, EdgeSSDError, EngineError, ModelError, OptionError, SpecError
from edgessd.export.final import final_tflite
from edgessd.ops.outputs import DecodedOutputs, FinalOutputs, RawOutputs
from edgessd.runtimes import load_runtime
from edgessd.spec import InputSpec, OutputSpec, Thresholds

BLANK = np.zeros((40, 60, 3), np.uint8)
WHITE = np.full((40, 60, 3), 255, np.uint8)
SIZE = 1 / 255
UINT8 = InputSpec(
    width=8, height=4, layout="NHWC", dtype="uint8", scale=(255.0,) * 3,
    quantization_scale=SIZE, quantization_zero_point=0,
)  # fmt: skip


@pytest.fixture
def file(tmp_path, make_tflite):
    def write(data=None, name="model.tflite", nms=False, **changes):
        path = tmp_path / name
        path.write_bytes((make_tflite.tiny_nms if nms else make_tflite.tiny)(**changes) if data is None else data)
        return path

    return write


def test_a_file_runs_with_nothing_but_its_own_metadata(file, make_tflite):
    runtime = load_runtime(file(), threads=1)
    assert runtime.spec == make_tflite.SPEC
    assert runtime.name == "ai_edge_litert (cpu)"
    assert runtime.thread_safe is False
    batch = np.stack([np.zeros((4, 8, 3), np.float32), np.ones((4, 8, 3), np.float32)])
    outputs = runtime.run(batch)  # two pictures, one after the other
    assert isinstance(outputs, RawOutputs)
    np.testing.assert_allclose(outputs.logits, np.stack([make_tflite.LOGITS, make_tflite.LOGITS + 1]), rtol=1e-6)
    assert outputs.offsets.shape == (2, 2, 4)
    runtime.close()
    with pytest.raises(EngineError, match="closed"):
        runtime.run(batch)


def test_the_kind_comes_from_the_content_not_from_the_name(file):
    assert load_runtime(file(name="model.onnx")).name.startswith("ai_edge_litert")


@pytest.mark.parametrize(
    "changes",
    [
        {"reverse": True},
        {"names": ("x", "y"), "signature": ("logits", "offsets")},
        {"names": ("x", "y")},  # nothing has the right name, but only one output has four columns
        {"names": ("x", "y"), "reverse": True},
        {"outside": True},
    ],
)
def test_outputs_are_found_by_name_and_by_shape(file, make_tflite, changes):
    outputs = load_runtime(file(**changes)).run(np.zeros((1, 4, 8, 3), np.float32))
    np.testing.assert_allclose(outputs.logits[0], make_tflite.LOGITS)
    assert outputs.offsets.shape == (1, 2, 4)


def test_outputs_that_could_be_each_other_need_names(file, make_tflite):
    spec = msgspec.structs.replace(make_tflite.SPEC, classes=tuple("abcd"))
    assert load_runtime(file(spec=spec, columns=4)).spec == spec
    with pytest.raises(SpecError, match="names the outputs"):
        load_runtime(file(spec=spec, columns=4, names=("x", "y")))


def test_decoded_outputs(file, make_tflite):
    spec = msgspec.structs.replace(make_tflite.SPEC, output=OutputSpec(level="decoded"))
    outputs = load_runtime(file(spec=spec, names=("scores", "boxes"))).run(np.ones((1, 4, 8, 3), np.float32))
    assert isinstance(outputs, DecodedOutputs)
    np.testing.assert_allclose(outputs.scores[0], make_tflite.LOGITS + 1)


@pytest.mark.parametrize(("input_type", "zero_point"), [("uint8", 0), ("int8", -128)])
@pytest.mark.parametrize("output_type", ["float32", "int8", "uint8"])
def test_integer_tensors_go_by_the_files_own_scales(file, make_tflite, input_type, zero_point, output_type):
    tensor = msgspec.structs.replace(UINT8, dtype=input_type, quantization_zero_point=zero_point)
    spec = msgspec.structs.replace(make_tflite.SPEC, input=tensor)
    path = file(spec=spec, input_type=input_type, input_scale=(SIZE, zero_point), output_type=output_type)
    with Detector.load(path, threads=1, score_threshold=0.5) as detector:
        assert detector(BLANK).names == ("a", "b")
        expected = 1 / (1 + np.exp(-np.array([3, 2])))  # the mean of a white picture is 1
        found = detector(WHITE)
    # The output's scale is 0.125, so values are off by at most half of it.
    np.testing.assert_allclose(found.scores, expected, atol=1e-6 if output_type == "float32" else 0.01)
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 40], [30, 0, 60, 40]], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "{}"}, "schema"),
        ({"text": ""}, "no edgessd spec"),
        ({"columns": 3}, "does not belong to this file"),
        ({"batch": 2}, "batches of 2"),
        ({"spec": {"classes": ("a",)}}, "does not belong to this file"),
        ({"spec": {"scores": "softmax"}}, r"logits have shape \[1, 2, 2\], its spec says \[B, 2, 3\]"),
        ({"spec": {"input": InputSpec(width=4, height=8, layout="NHWC")}}, "does not belong to this file"),
        ({"spec": {"input": InputSpec(width=8, height=4)}}, "does not belong to this file"),
        ({"spec": {"input": UINT8}}, "takes float32"),
        ({"spec": {"input": UINT8}, "input_type": "uint8", "input_scale": (0.5, 0)}, "scale 0.5 and zero point 0"),
        ({"spec": {"input": UINT8}, "input_type": "uint8", "input_scale": (SIZE, 1)}, "zero point 1, its spec says"),
        ({"spec": {"output": OutputSpec(level="nms")}}, "does not end in TFLite_Detection_PostProcess"),
        ({"spec": {"output": OutputSpec(level="decoded")}, "columns": 3}, "names the outputs"),
    ],
)
def test_metadata_is_never_trusted(file, make_tflite, changes, message):
    if "spec" in changes:
        changes = {**changes, "spec": msgspec.structs.replace(make_tflite.SPEC, **changes["spec"])}
    with pytest.raises(SpecError, match=message):
        load_runtime(file(**changes))


def test_truncated_files_are_refused(file, make_tflite):
    data = make_tflite.tiny_nms()
    for length in range(9, len(data), 41):
        with pytest.raises(EdgeSSDError):
            load_runtime(file(data[:length]))


@pytest.mark.parametrize("zero", [2**31 - 1, 2**32 - 1, 0])
def test_damaged_offsets_never_reach_the_engine_unchecked(file, make_tflite, zero):
    """Without the checks in front of it, the engine ends the whole process for some of these files."""
    data = make_tflite.tiny_nms()
    for position in range(0, len(data), 4):
        damaged = data[:position] + zero.to_bytes(4, "little") + data[position + 4 :]
        try:
            runtime = load_runtime(file(damaged))
            runtime.run(np.zeros((1, 4, 8, 3), np.float32))
        except EdgeSSDError:
            pass


def test_final_outputs(file, make_tflite):
    runtime = load_runtime(file(nms=True))
    assert runtime.spec == make_tflite.NMS
    outputs = runtime.run(np.zeros((2, 4, 8, 3), np.float32))
    assert isinstance(outputs, FinalOutputs)
    assert outputs.counts.tolist() == [2, 2]
    np.testing.assert_allclose(outputs.boxes[0, :2], [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], atol=1e-6)  # xyxy
    np.testing.assert_allclose(outputs.scores[1, :2], 1 / (1 + np.exp([-2, -1])), rtol=1e-6)
    assert outputs.labels[0, :2].tolist() == [0, 1]
    assert (outputs.labels.dtype, outputs.counts.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_final_outputs_come_from_the_operator_in_whatever_order_the_graph_has_them(file, order):
    found = Detector.load(file(nms=True, order=order))(BLANK)
    assert found.names == ("a", "b")
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 40], [30, 0, 60, 40]], atol=1e-4)


def test_thresholds_that_are_baked_in(file):
    path = file(nms=True)
    assert Detector.load(path, score_threshold=0.8)(BLANK).names == ("a",)
    assert Detector.load(path, max_detections=1)(BLANK).names == ("a",)
    assert Detector.load(path, classes=["b"])(BLANK).names == ("b",)
    assert Detector.load(path, iou_threshold=0.5, score_threshold=0.25, max_detections=3)(BLANK).names == ("a", "b")
    for wrong in ({"score_threshold": 0.2}, {"iou_threshold": 0.45}, {"max_detections": 4}):
        with pytest.raises(OptionError, match=rf"{next(iter(wrong))} .* baked in \(level nms\)"):
            Detector.load(path, **wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes of the suppression is 1, its spec says 2"),
        ({"num_classes": -7}, "num_classes"),
        ({"max_detections": 10}, "max_detections of the suppression is 10"),
        ({"nms_score_threshold": 0.5}, "nms_score_threshold"),
        ({"nms_iou_threshold": 0.6}, "nms_iou_threshold"),
        ({"y_scale": 0.0}, "do not belong together"),
        ({"max_classes_per_detection": 9}, "do not belong together"),
        ({"detections_per_class": -1}, "do not belong together"),
    ],
)
def test_the_operators_options_are_held_against_the_spec(file, options, message):
    with pytest.raises(SpecError, match=message):
        load_runtime(file(nms=True, options=options))


# A stranger's file: no spec.


@pytest.fixture
def stranger(file):
    return lambda **changes: file(nms=True, text="", input_type="uint8", **changes)


def test_a_strangers_detector_runs_with_labels(stranger, tmp_path):
    path = stranger()
    with pytest.raises(SpecError, match=r"neither an edgessd spec nor class names.*--labels"):
        load_runtime(path)
    listed = tmp_path / "labels.txt"
    listed.write_text("0  cat\n1  dog\n")
    for labels in (listed, str(listed), ["cat", "dog"], ["???", "cat", "dog"]):
        detector = Detector.load(path, labels=labels, threads=1)
        assert detector(BLANK).names == ("cat", "dog")
    spec = detector.spec
    assert spec.defaults == Thresholds(score_threshold=0.25, iou_threshold=0.5, max_detections=3)
    assert (spec.output.level, spec.input.dtype, spec.input.tensor_shape) == ("nms", "uint8", (4, 8, 3))
    np.testing.assert_allclose(detector(WHITE).scores, 1 / (1 + np.exp([-3, -2])), rtol=1e-5)


def test_a_strangers_file_with_the_standard_metadata_needs_no_labels(file):
    detector = Detector.load(file(nms=True, text="", standard=True))
    assert detector(BLANK).names == ("a", "b")
    assert detector.spec.input.scale == (255, 255, 255)  # of the normalisation, for a float input


@pytest.mark.parametrize(
    ("changes", "labels", "error", "message"),
    [
        ({}, ["cat"], OptionError, "1 class names for a model with 2 classes"),
        ({}, ["cat", "cat"], OptionError, "same name"),
        ({}, ["cat", "\x1b[2J"], OptionError, "printable"),
        ({}, "missing.txt", OptionError, "label file missing.txt cannot be read"),
        ({}, "coco90", OptionError, "coco90: 90 class names for a model with 2"),
        ({"options": {"num_classes": -1}}, ["a", "b"], ModelError, "num_classes"),
        ({"options": {"max_detections": 2**31 - 1}}, ["a", "b"], ModelError, "max_detections"),
        ({"options": {"nms_iou_threshold": float("nan")}}, ["a", "b"], ModelError, "nms_iou_threshold"),
    ],
)
def test_labels_that_do_not_fit(stranger, changes, labels, error, message):
    with pytest.raises(error, match=message):
        load_runtime(stranger(**changes), labels=labels)


def test_labels_are_for_strangers_only(file, make_tflite):
    with pytest.raises(OptionError, match="carries its own class names"):
        load_runtime(file(), labels=["a", "b"])
    with pytest.raises(SpecError, match="labels are not enough"):
        load_runtime(file(text=""), labels=["a", "b"])
    with pytest.raises(OptionError, match="leave labels out"):
        load_runtime(file(), labels=["a", "b"], spec=make_tflite.SPEC)
    with pytest.raises(SpecError, match="does not say how they are normalised"):
        load_runtime(file(nms=True, text=""), labels=["a", "b"])


def test_a_strangers_file_of_another_level_runs_with_a_spec(file, make_tflite):
    assert Detector.load(file(text=""), spec=make_tflite.SPEC)(BLANK).names == ("a", "b")


def test_corals_detector_finds_the_cat(shared):
    pytest.importorskip("ai_edge_litert")
    from edgessd import zoo

    path = shared / "weights" / "mobilenet_ssd_v2_coco_quant_postprocess.tflite"
    detector = Detector.load(path, labels="coco90", score_threshold=0.5)
    found = detector(next(photo for photo in zoo.photos() if photo.stem == "chelsea"))
    assert found.names == ("cat",)
    assert found.scores[0] > 0.85
    assert detector.spec.defaults == Thresholds(score_threshold=1e-8, iou_threshold=0.6, max_detections=20)


# The engine.


def test_options(file):
    path = file()
    assert load_runtime(path, providers="reference").run(np.zeros((1, 4, 8, 3), np.float32))
    assert load_runtime(path, providers=["xnnpack"], threads=2).name == "ai_edge_litert (xnnpack)"
    with pytest.raises(OptionError, match=r"delegate 'libnothing\.so' cannot be loaded"):
        load_runtime(path, providers=["libnothing.so"])
    with pytest.raises(OptionError, match="use litert"):
        load_runtime(path, runtime="onnx")


def test_without_any_interpreter_the_pip_command_is_named(file, monkeypatch):
    path = file()
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[tflite\]'"):
        load_runtime(path)


def test_an_older_interpreter_does_as_well(file, monkeypatch):
    path = file()
    from ai_edge_litert import interpreter

    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(__import__("sys").modules, "tflite_runtime", interpreter)
    monkeypatch.setitem(__import__("sys").modules, "tflite_runtime.interpreter", interpreter)
    assert load_runtime(path).run(np.zeros((1, 4, 8, 3), np.float32))


def test_threads_lose_no_class(tmp_path):
    """TFLite_Detection_PostProcess never returns class N with N threads: 3 is the motorcycle."""
    pytest.importorskip("ai_edge_litert")
    data, _ = final_tflite(zoo.bundled_models()[zoo.DEFAULT_MODEL].with_suffix(".tflite"))
    path = tmp_path / "nms.tflite"
    path.write_bytes(data)
    (street,) = (photo for photo in zoo.photos() if photo.stem == "000000000086")
    found = [Detector.load(path, threads=threads)(street).names for threads in (1, 3)]
    assert found[0] == found[1] and "motorcycle" in found[0]
