"""The folder of `edgessd bundle --target frigate`, run as Frigate's three detectors run it.

The contracts are ours, written from Frigate's documentation and the behaviour of its detectors (version 0.17).
"""

import functools
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.apps.bundle import write_frigate
from edgessd.apps.bundle.frigate import FOLDER, label_map
from edgessd.cli.bundle import Target
from edgessd.cli.bundle import bundle as command
from edgessd.detector import Detector
from edgessd.errors import DependencyError, EdgeSSDError, InputError, ModelError, OptionError
from edgessd.export import final
from edgessd.model_file import read_spec

MOST = 20  # detections that Frigate takes of a picture
PHOTOS = zoo.photos()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    for package in ("onnx", "openvino", "ai_edge_litert"):
        pytest.importorskip(package)
    made = tmp_path_factory.mktemp("bundles") / "frigate"
    write_frigate([zoo.DEFAULT_MODEL], made)
    return made


def settings(folder, detector):
    """The model's part of a config, and the type of its only detector."""
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((folder / f"config-{detector}.yml").read_text())
    assert set(config) == {"detectors", "model"}
    (kind,) = [each["type"] for each in config["detectors"].values()]
    return config["model"], kind


def labels_of(path, prefill=91):
    """As Frigate reads a label map."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = dict.fromkeys(range(prefill), "unknown")
    if lines[0].split(" ", 1)[0].isdigit():
        return names | {int(number): name.strip() for number, name in (line.split(" ", 1) for line in lines)}
    return names | {index: line.strip() for index, line in enumerate(lines)}


def tensor_of(photo, model):
    """The whole picture as Frigate gives it: uint8, stretched, in the order of the config."""
    picture = cv2.imread(str(photo))
    picture = cv2.resize(picture, (model["width"], model["height"]), interpolation=cv2.INTER_LINEAR)
    if model["input_pixel_format"] == "rgb":
        picture = picture[..., ::-1]
    tensor = np.ascontiguousarray(picture)[None]
    return tensor if model["input_tensor"] == "nhwc" else np.transpose(tensor, (0, 3, 1, 2))


def cpu(path, tensor, model):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    boxes, classes, scores, count = (
        interpreter.get_tensor(each["index"])[0] for each in interpreter.get_output_details()
    )
    rows = []
    for box, label, score in list(zip(boxes, classes, scores, strict=True))[: int(count)]:
        if score < 0.4:
            break
        rows.append((label, score, *box))
    return rows


@functools.cache
def compiled_model(path):
    import openvino as ov

    return ov.Core().compile_model(str(path), "CPU")


@functools.cache
def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def openvino(path, tensor, model):
    compiled = compiled_model(path)
    assert len(compiled.inputs) == len(compiled.outputs) == 1
    # Frigate up to 0.16 compares the shape of the input, with the width first.
    assert list(compiled.inputs[0].get_shape()) == [1, model["width"], model["height"], 3]
    shape = list(compiled.outputs[0].get_shape())
    assert shape[:2] == [1, 1] and shape[3] == 7
    rows = []
    for row in compiled.create_infer_request().infer([tensor])[compiled.outputs[0]][0, 0]:
        if row[2] < 0.1:
            break
        rows.append((row[1], row[2], row[4], row[3], row[6], row[5]))
    return rows


def onnx(path, tensor, model):
    session = session_of(path)
    rows = []
    for _, left, top, right, bottom, score, label in session.run(None, {session.get_inputs()[0].name: tensor})[0]:
        if label < 0:
            break
        width, height = model["width"], model["height"]
        rows.append((label, score, top / height, left / width, bottom / height, right / width))
    return rows


RUN = {"cpu": cpu, "openvino": openvino, "onnx": onnx}
KINDS = {"cpu": "ssd", "openvino": "ssd", "onnx": "yolonas"}


@functools.cache
def loaded(path):
    return Detector.load(path)


def reference(folder, detector, photo):
    """What the same kind of engine finds in edgessd: the same kernels, whose int8 arithmetic differs elsewhere."""
    if detector == "onnx":
        # Frigate takes onnxruntime's default options, the detector takes exact ones: a session of the same options.
        path = folder.parent / "nms.onnx"
        if not path.exists():
            path.write_bytes(final.final_onnx(zoo.resolve_model(zoo.DEFAULT_MODEL))[0])
        model, _ = settings(folder, "onnx")
        session = session_of(path)
        boxes, scores, labels, count = session.run(None, {session.get_inputs()[0].name: tensor_of(photo, model)})
        found = zip(labels[0], scores[0], boxes[0], strict=True)
        return [(label, score, *box[[1, 0, 3, 2]]) for label, score, box in list(found)[: int(count[0])]]
    file = {"cpu": "model.tflite", "openvino": "model.xml"}[detector]
    found = loaded(folder / file)(photo)
    width, height = found.image_size
    sides = np.array([height, width, height, width])
    rows = zip(found.labels, found.scores, found.boxes[:, [1, 0, 3, 2]] / sides, strict=True)
    return [(label, score, *box) for label, score, box in rows if detector != "cpu" or score >= 0.4]


@pytest.mark.parametrize("detector", ["cpu", "onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_frigates_detector_finds_what_edgessd_finds(folder, detector):
    model, kind = settings(folder, detector)
    assert (kind, model["model_type"]) == (detector, KINDS[detector])
    assert model["path"].startswith(f"{FOLDER}/") and model["labelmap_path"] == f"{FOLDER}/labelmap.txt"
    path = folder / model["path"].removeprefix(f"{FOLDER}/")
    names = labels_of(folder / "labelmap.txt")
    total = 0
    for photo in PHOTOS:
        rows, expected = RUN[detector](path, tensor_of(photo, model), model), reference(folder, detector, photo)
        assert [int(row[0]) for row in rows] == [int(row[0]) for row in expected], photo.name
        assert np.allclose([row[1] for row in rows], [row[1] for row in expected], atol=1e-3)
        boxes, wanted = (np.array([row[2:] for row in each]).reshape(-1, 4) for each in (rows, expected))
        assert np.abs(boxes - np.clip(wanted, 0, 1)).max(initial=0) < 2e-3
        total += len(rows)
        if photo.stem == "chelsea":
            assert names[int(rows[0][0])] == "cat"
    assert 6 <= total <= MOST * len(PHOTOS)


def test_label_map_has_a_line_per_class(folder):
    lines = (folder / "labelmap.txt").read_text().splitlines()
    assert len(lines) == 80 and (lines[0], lines[9], lines[79]) == ("person", "traffic light", "toothbrush")
    assert labels_of(folder / "labelmap.txt")[79] == "toothbrush"


@pytest.mark.parametrize("classes", [("3 legs", "dog"), ("3", "4"), ("dog", "3 legs"), ("a b", "Ж")])
def test_label_map_of_odd_names(tmp_path, classes):
    (tmp_path / "map").write_text(label_map(classes), encoding="utf-8")
    found = labels_of(tmp_path / "map", prefill=0)
    assert found == dict(enumerate(classes))


def test_what_is_not_there_is_said(tmp_path):
    pytest.importorskip("ai_edge_litert")
    files = write_frigate([f"{zoo.DEFAULT_MODEL}.tflite"], tmp_path / "out")
    assert [path.name for path in files] == ["README.md", "config-cpu.yml", "labelmap.txt", "model.tflite"]
    text = (tmp_path / "out" / "README.md").read_text()
    assert "`config-openvino.yml` is not here: it needs a file of kind ONNX" in text
    assert "| config-openvino.yml |" not in text


def test_files_that_frigate_cannot_run(tmp_path, make_onnx):
    (tmp_path / "a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}" + b" " * 20)
    (tmp_path / "float.onnx").write_bytes(make_onnx.onnx_graph("nms").SerializeToString())
    for models, part in (
        ([tmp_path / "a.safetensors"], "is made of ONNX and TFLite files: export the checkpoint, edgessd export"),
        ([tmp_path / "float.onnx"], "takes float32, Frigate gives uint8: export it again, .* --input uint8"),
    ):
        with pytest.raises(ModelError, match=part):
            write_frigate(models, tmp_path / "out")
    for models in ([zoo.DEFAULT_MODEL, tmp_path / "float.onnx"], [zoo.DEFAULT_MODEL] * 2):
        with pytest.raises(OptionError, match="Frigate runs one model"):
            write_frigate(models, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match="already there"):
        write_frigate([zoo.DEFAULT_MODEL], tmp_path / "full")
    assert not (tmp_path / "out").exists()


def test_models_of_different_classes(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    other = zoo.resolve_model(zoo.DEFAULT_MODEL)
    spec = read_spec(other)
    changed = msgspec.structs.replace(spec, classes=("x", *spec.classes[1:]))
    monkeypatch.setattr(final, "final_openvino", lambda *_: changed)
    with pytest.raises(OptionError, match="different classes"):
        write_frigate([f"{zoo.DEFAULT_MODEL}.tflite", other], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[openvino\]'") as caught:
        write_frigate([zoo.DEFAULT_MODEL], tmp_path / "out")
    assert isinstance(caught.value, EdgeSSDError) and not (tmp_path / "out").exists()


def test_the_command(tmp_path):
    line = [sys.executable, "-m", "edgessd", "bundle", f"{zoo.DEFAULT_MODEL}.tflite", "--target", "frigate", "-o"]
    done = subprocess.run([*line, str(tmp_path / "out")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "config-cpu.yml" in done.stdout, done.stderr
    with pytest.raises(OptionError, match="--extras and --screen are for --target device"):
        command([zoo.DEFAULT_MODEL], tmp_path / "b", target=Target.frigate, extras="web")
    with pytest.raises(OptionError, match="--ort and --mediapipe are for --target web"):
        command([zoo.DEFAULT_MODEL], tmp_path / "b", target=Target.frigate, ort=tmp_path)
