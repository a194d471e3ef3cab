import json
import subprocess
import sys

import msgspec
import pytest

from edgessd import zoo
from edgessd._openvino import import_openvino
from edgessd.errors import ModelError, OptionError, SpecError
from edgessd.model_file import read_facts, read_spec
from edgessd.spec import METADATA_KEY, OutputSpec, QuantizationSpec, Thresholds
from edgessd.validation import validate

DATA = __import__("pathlib").Path(__file__).parent / "data"


def failed(path):
    return {check.name: check.text for check in validate(path) if check.passed is False}


def names(path):
    return [check.name for check in validate(path)]


@pytest.fixture
def onnx_file(tmp_path, make_onnx):
    def write(level="raw", **changes):
        path = tmp_path / "model.onnx"
        path.write_bytes(make_onnx.onnx_graph(level, **changes).SerializeToString())
        return path

    return write


@pytest.fixture
def tflite_file(tmp_path, make_tflite):
    def write(nms=False, **changes):
        path = tmp_path / "model.tflite"
        path.write_bytes((make_tflite.tiny_nms if nms else make_tflite.tiny)(**changes))
        return path

    return write


def without_engines(monkeypatch):
    for name in ("onnxruntime", "ai_edge_litert", "tflite_runtime", "tensorflow", "openvino", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
        for module in [each for each in sys.modules if each.startswith(f"{name}.")]:
            monkeypatch.setitem(sys.modules, module, None)


def test_specs_and_facts_are_read_without_any_engine(monkeypatch):
    without_engines(monkeypatch)
    assert read_spec(zoo.resolve_model()).name == zoo.DEFAULT_MODEL
    assert read_spec(DATA / "tiny.tflite").name == "tiny"
    assert read_spec(DATA / "tiny_nms.tflite").output.level == "nms"
    assert [each.name for each in read_facts(DATA / "tiny.tflite").outputs] == ["logits", "offsets"]


def test_without_an_engine_only_the_run_is_not_checked(monkeypatch):
    without_engines(monkeypatch)
    checks = validate(DATA / "tiny.tflite")
    assert [check.name for check in checks if check.passed is None] == ["run"]
    assert "pip install 'edgessd[tflite]'" in checks[-1].text
    assert not failed(DATA / "tiny.tflite")


@pytest.mark.parametrize("ids", [(17, 3), None])
def test_category_ids_go_with_every_format(tmp_path, make_onnx, make_tflite, onnx_file, tflite_file, ids):
    safetensors = pytest.importorskip("safetensors.numpy")
    wanted = msgspec.structs.replace(make_onnx.level_spec("raw"), category_ids=ids)
    safetensors.save_file({}, tmp_path / "a.safetensors", metadata={METADATA_KEY: wanted.to_json()})
    files = [onnx_file(spec=wanted), tmp_path / "a.safetensors"]
    assert [read_spec(path) for path in files] == [wanted, wanted]
    tiny = msgspec.structs.replace(make_tflite.SPEC, category_ids=ids)
    assert read_spec(tflite_file(spec=tiny)) == tiny
    assert all(failed(path) == {} for path in files[:1])


@pytest.mark.parametrize("level", ["raw", "decoded", "nms"])
def test_good_onnx_files(onnx_file, level):
    path = onnx_file(level)
    assert failed(path) == {}
    assert names(path) == ["structure", "spec", "input", "outputs", "labels", "precision", "run"]


def test_good_tflite_files(tflite_file):
    assert failed(tflite_file()) == {}
    path = tflite_file(nms=True, standard=True)
    assert failed(path) == {}
    assert "suppression" in names(path)


def test_a_good_openvino_file(onnx_file, make_onnx, tmp_path):
    pytest.importorskip("openvino")
    openvino = import_openvino()
    model = openvino.convert_model(str(onnx_file()))
    model.set_rt_info(make_onnx.level_spec("raw").to_json(), ["edgessd", "spec"])
    model.set_rt_info("a traffic_light", ["model_info", "labels"])
    path = tmp_path / "model.xml"
    openvino.save_model(model, str(path), compress_to_fp16=False)
    assert failed(path) == {}
    assert "weights" in names(path)
    path.with_suffix(".bin").unlink()
    assert set(failed(path)) == {"weights", "run"}


def test_a_good_checkpoint(tmp_path):
    pytest.importorskip("torch")
    from edgessd.models import create_model, save_checkpoint

    model, spec = create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", size=160, classes=("a", "b"), receptive_fields=False
    )
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, spec)
    assert failed(path) == {}
    assert read_spec(path) == spec
    wrong = msgspec.structs.replace(spec, output=OutputSpec(level="nms"), classes=("a", "b", "c"))
    save_checkpoint(path, model, wrong)
    assert set(failed(path)) == {"level", "run"}


@pytest.mark.parametrize(
    ("level", "changes", "failures"),
    [
        ("raw", {"spec": {"classes": ("a", "b", "c")}}, {"outputs", "labels", "run"}),
        ("raw", {"spec": {"classes": ("a", "b")}}, {"labels"}),
        ("raw", {"spec": {"precision": "fp16"}}, {"precision"}),
        ("raw", {"spec": {"precision": "int8"}}, {"precision"}),
        ("raw", {"half": True}, {"precision"}),
        ("raw", {"spec": {"quantization": QuantizationSpec(method="ptq", tool="t")}}, {"precision"}),
        ("raw", {"spec": {"output": OutputSpec(names=("x", "y"))}}, {"outputs", "run"}),
        ("nms", {"spec": {"defaults": Thresholds(max_detections=7)}}, {"outputs", "run"}),
        ("raw", {"names": {"names": '{"0": "a"}'}}, {"spec"}),
    ],
)
def test_what_is_wrong_with_an_onnx_file_is_named(onnx_file, make_onnx, level, changes, failures):
    if "spec" in changes:
        changes = {**changes, "spec": msgspec.structs.replace(make_onnx.level_spec(level), **changes["spec"])}
    assert set(failed(onnx_file(level, **changes))) == failures


def test_labels_must_be_where_the_formats_tools_look(onnx_file, make_onnx, tflite_file):
    path = onnx_file(names={"edgessd.spec": make_onnx.level_spec("raw").to_json()})
    assert failed(path) == {"labels": "no class names in the metadata entry 'names'"}
    assert failed(tflite_file(nms=True)) == {
        "labels": "no class names in the label file of the standard TFLite metadata"
    }


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        ({"nms": True, "standard": True, "options": {"nms_iou_threshold": 0.7}}, {"suppression", "run"}),
        ({"input_type": "uint8"}, {"input", "run"}),
        ({"columns": 3}, {"outputs", "run"}),
        ({"text": "{}"}, {"spec"}),
        ({"text": ""}, {"spec"}),
    ],
)
def test_what_is_wrong_with_a_tflite_file_is_named(tflite_file, changes, failures):
    assert set(failed(tflite_file(**changes))) == failures


def test_a_graph_that_answers_nan(onnx_file, make_onnx):
    logits = make_onnx.LOGITS[None] * float("nan")
    assert set(failed(onnx_file(changes={"logits": logits}))) == {"run"}


def test_a_damaged_file_gets_one_line(tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes((DATA / "tiny.tflite").read_bytes()[:500])
    assert [(check.name, check.passed) for check in validate(path)] == [("structure", False)]
    with pytest.raises(ModelError, match="not a model file"):
        path.write_text("hello, I am no model")
        validate(path)


def test_a_strangers_file(tflite_file, onnx_file):
    path = tflite_file(nms=True, text="", input_type="uint8")
    assert set(failed(path)) == {"spec"}
    assert read_spec(path, ["x", "y"]).classes == ("x", "y")
    with pytest.raises(SpecError, match="--labels"):
        read_spec(path)
    with pytest.raises(OptionError, match="own class names"):
        read_spec(tflite_file(), ["x", "y"])
    with pytest.raises(SpecError, match="no edgessd spec"):
        read_spec(onnx_file(names={}))


# The command.


def info(*arguments):
    command = [sys.executable, "-m", "edgessd", "info", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_info_validates_line_by_line_and_fails_with_exit_code_2(tflite_file):
    pytest.importorskip("ai_edge_litert")
    done = info(DATA / "tiny_nms.tflite", "--validate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" ok ") == 8
    done = info(tflite_file(columns=3), "--validate")
    assert done.returncode == 2
    assert done.stdout.count("FAILS") == 2
    assert "fails 2 of 7 checks: outputs, run" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_info_shows_any_file(tmp_path, tflite_file):
    done = info(DATA / "tiny_nms.tflite")
    for part in ("float32 NHWC", "2: a, b", "nms: boxes, scores, labels, count", "score > 0.25, IoU 0.5", "baked in"):
        assert part in done.stdout
    assert json.loads(info(DATA / "tiny.tflite", "--json").stdout)["name"] == "tiny"
    stranger = tflite_file(nms=True, text="", input_type="uint8")
    done = info(stranger)
    assert done.returncode == 2
    assert "image uint8 [1, 4, 8, 3], scale 0.00392157" in done.stdout
    assert "--labels" in done.stderr
    (tmp_path / "labels.txt").write_text("x\ny\n")
    done = info(stranger, "--labels", tmp_path / "labels.txt")
    assert done.returncode == 0, done.stderr
    assert "2: x, y" in done.stdout


def test_names_that_look_like_markup_are_shown_as_they_are(tflite_file, make_tflite):
    spec = msgspec.structs.replace(make_tflite.SPEC, classes=("[/red]", "[bold]x"))
    done = info(tflite_file(spec=spec))
    assert done.returncode == 0, done.stderr
    assert "[/red], [bold]x" in done.stdout
