import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgessd._cv2 import cv2
from edgessd._torchvision import timm
from edgessd.classes.coco import COCO_CLASSES
from edgessd.errors import ModelError
from edgessd.models import create_model
from edgessd.models.weights import load_imagenet_vgg16, load_timm_backbone, read_state, tensorflow_ssdlite
from edgessd.ops.priors import prior_boxes

TENSORFLOW = "weights/ssdlite_mobilenet_v2_coco.safetensors"


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights at all", pickle.dumps(Evil())])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_hold_no_weights_are_refused_and_never_executed(tmp_path, capsys, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as weights") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_pickle_in_a_torch_archive_is_refused(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_state(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {"a": torch.zeros(1)}}])
def test_other_things_than_named_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(ModelError, match="other things than named tensors"):
        read_state(tmp_path / "checkpoint.pth")


def test_a_missing_file():
    with pytest.raises(ModelError, match=r"no such weights file: nowhere\.pth"):
        read_state("nowhere.pth")


@pytest.fixture(scope="module")
def tensorflow_file(request):
    path = request.config.rootpath.parent / "shared" / TENSORFLOW
    if not path.is_file():
        pytest.skip("needs the development data beside the project (../shared)")
    return path


def test_tensorflows_ssdlite_sees_the_cat(tensorflow_file, shared):
    model, spec = tensorflow_ssdlite(tensorflow_file)
    photo = cv2.cvtColor(cv2.imread(str(shared / "data/photos/free/chelsea.png")), cv2.COLOR_BGR2RGB)
    x = cv2.resize(photo, (300, 300)).astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        logits, offsets = model(torch.from_numpy(x))
    scores = logits[0].sigmoid()
    prior, label = divmod(int(scores.argmax()), len(spec.classes))
    assert spec.classes[label] == "cat"
    assert float(scores.max()) > 0.9
    assert float((scores.amax(dim=0) > 0.3).sum()) == 1  # and nothing else
    # The cat's head fills the picture's middle: the box, decoded by hand, must hold it.
    cx, cy, w, h = prior_boxes(spec.priors)[prior]
    tx, ty, tw, th = offsets[0, prior].tolist()
    left, right = cx + 0.1 * tx * w - w * np.exp(0.2 * tw) / 2, cx + 0.1 * tx * w + w * np.exp(0.2 * tw) / 2
    top, bottom = cy + 0.1 * ty * h - h * np.exp(0.2 * th) / 2, cy + 0.1 * ty * h + h * np.exp(0.2 * th) / 2
    assert left < 0.3 < 0.6 < right
    assert top < 0.1 < 0.8 < bottom


def test_tensorflows_priors_are_in_its_file(tensorflow_file):
    anchors = load_file(tensorflow_file)["anchors"].numpy()  # (ymin, xmin, ymax, xmax)
    _, spec = create_model("ssdlite300_mobilenet_v2", receptive_fields=False)
    priors = prior_boxes(spec.priors)
    low, high = priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2
    # 4e-5: the rounding of TensorFlow's own anchors (weights/README)
    np.testing.assert_allclose(np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1), anchors, rtol=0, atol=5e-5)


def test_tensorflows_batch_norm_only_adds_the_bias(tensorflow_file):
    model, _ = tensorflow_ssdlite(tensorflow_file)
    theirs = load_file(tensorflow_file)
    norm = model.get_submodule("extras.0.reduce.norm")
    x = torch.randn(1, 256, 4, 4)
    with torch.no_grad():
        expected = x + theirs["extras.0.pw1.conv.bias"].view(1, -1, 1, 1)
        torch.testing.assert_close(norm(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("blocks.3.expand.conv.bias"), "blocks.3.expand.conv.bias is missing"),
        (lambda state: state.update(more=torch.zeros(1)), "1 unexpected (such as more)"),
        (lambda state: state.update({"stem.conv.weight": torch.zeros(8, 3, 3, 3)}), "1 of another shape"),
    ],
)
def test_tensorflows_weights_must_fit(tensorflow_file, tmp_path, change, message):
    state = load_file(tensorflow_file)
    change(state)
    save_file(state, tmp_path / "changed.safetensors")
    with pytest.raises(ModelError) as caught:
        tensorflow_ssdlite(tmp_path / "changed.safetensors")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensorflows_classes_are_cocos(tensorflow_file):
    _, spec = tensorflow_ssdlite(tensorflow_file)
    assert spec.classes == COCO_CLASSES
    assert spec.scores == "sigmoid"


def test_imagenets_vgg_needs_a_vgg():
    model, _ = create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", classes=("a",), size=160, receptive_fields=False
    )
    with pytest.raises(ModelError, match="fits the backbone 'vgg16'"):
        load_imagenet_vgg16(model, {})
    with pytest.raises(ModelError, match=r"\d+ missing \(such as stem.0.weight\)"):
        load_timm_backbone(model, {})


def test_a_timm_classifier_is_loaded_into_the_backbone(tmp_path):
    torch.manual_seed(0)
    classifier = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(classifier.state_dict(), tmp_path / "classifier.safetensors")
    model, _ = create_model(
        "ssdlite", backbone="timm:mobilenetv3_small_050", classes=("a",), size=160, receptive_fields=False
    )
    load_timm_backbone(model, tmp_path / "classifier.safetensors")
    assert torch.equal(model.backbone.stem[0].weight, classifier.conv_stem.weight)
    expected = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    foreign = {f"theirs.{number}": value for number, value in enumerate(_learnt(classifier.state_dict()).values())}
    model.backbone.stem[0].weight.data.zero_()
    load_timm_backbone(model, foreign)
    assert all(torch.equal(value, expected[key]) for key, value in _learnt(model.backbone.state_dict()).items())
    with pytest.raises(ModelError, match=r"unexpected .such as theirs.1"):
        load_timm_backbone(model, dict(list(foreign.items())[1:]))
    ssd, _ = create_model("ssd300_vgg16", classes=("a",), receptive_fields=False)
    with pytest.raises(ModelError, match="fit a backbone 'timm:NAME', not a VGG16"):
        load_timm_backbone(ssd, {})


def _learnt(state):
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
