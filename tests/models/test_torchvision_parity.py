"""torchvision's detectors and ours, with the same weights: the same raw outputs, priors and detections."""

import numpy as np
import pytest
import torch

from edgessd._torchvision import torchvision
from edgessd.classes.coco import COCO_CLASSES, COCO_CLASSES_90, COCO_IDS
from edgessd.errors import ModelError, OptionError
from edgessd.models.weights import torchvision_detector, torchvision_state
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import prior_boxes
from edgessd.spec import Thresholds


def pictures(model, size):
    """Two random pictures of 0..1, and what torchvision's own transform makes of them."""
    generator = torch.Generator().manual_seed(2)
    images = list(torch.rand(2, 3, size, size, generator=generator))
    return images, model.transform(images)[0].tensors


def test_raw_outputs(detector):
    name, size, theirs = detector
    ours, spec = torchvision_detector(name, theirs.state_dict())
    images, x = pictures(theirs, size)
    mean, scale = (torch.tensor(values).view(3, 1, 1) for values in (spec.input.mean, spec.input.scale))
    normalized = torch.stack([(image * 255 - mean) / scale for image in images])
    torch.testing.assert_close(normalized, x, rtol=1e-5, atol=1e-4)
    with torch.no_grad():
        expected = theirs.head(list(theirs.backbone(x).values()))
        logits, offsets = ours(x)
    for result, reference in ((logits, expected["cls_logits"]), (offsets, expected["bbox_regression"])):
        assert result.shape == reference.shape
        assert float((result - reference).abs().max()) <= 1e-5 * float(reference.abs().max())
        assert float(reference.abs().max()) > 0.1


def test_priors(detector):
    name, size, theirs = detector
    _, spec = torchvision_detector(name, theirs.state_dict())
    maps = [torch.zeros(1, 1, level.rows, level.columns) for level in spec.priors.levels]
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, size, size), [(size, size)])
    corners = theirs.anchor_generator(images, maps)[0].numpy() / size
    priors = prior_boxes(spec.priors)
    ours = np.concatenate([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], axis=1)
    np.testing.assert_allclose(ours, corners, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limits", ["published", "few"])
def test_detections(detector, limits):
    name, size, theirs = detector
    ours, spec = torchvision_detector(name, theirs.state_dict())
    defaults = spec.defaults
    assert (theirs.score_thresh, theirs.nms_thresh, theirs.detections_per_img, theirs.topk_candidates) == (
        defaults.score_threshold, defaults.iou_threshold, defaults.max_detections, defaults.max_candidates,
    )  # fmt: skip
    if limits == "few":
        defaults = Thresholds(score_threshold=0.02, iou_threshold=0.3, max_detections=20, max_candidates=50)
    saved = theirs.score_thresh, theirs.nms_thresh, theirs.detections_per_img, theirs.topk_candidates
    images, x = pictures(theirs, size)
    try:
        theirs.score_thresh, theirs.nms_thresh = defaults.score_threshold, defaults.iou_threshold
        theirs.detections_per_img, theirs.topk_candidates = defaults.max_detections, defaults.max_candidates
        with torch.no_grad():
            expected = theirs(images)
            outputs = RawOutputs(*(output.numpy() for output in ours(x)))
    finally:
        theirs.score_thresh, theirs.nms_thresh, theirs.detections_per_img, theirs.topk_candidates = saved
    for index, reference in enumerate(expected):
        found = postprocess(outputs, spec, (size, size), defaults, picture=index)
        # torchvision also returns boxes that clipping has left without an area, and they take up places; we do not.
        solid = ((reference["boxes"][:, 2:] - reference["boxes"][:, :2]) > 0).all(dim=1)
        boxes, scores, labels = (reference[key][solid].numpy() for key in ("boxes", "scores", "labels"))
        count = len(scores)
        assert min(10, defaults.max_detections) <= count <= len(found.scores) <= defaults.max_detections
        if solid.all():
            assert len(found.scores) == count
        np.testing.assert_array_equal(found.labels[:count] + 1, labels)  # theirs count the background
        np.testing.assert_allclose(found.scores[:count], scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.boxes[:count], boxes, rtol=0, atol=size * 1e-5)


def test_the_published_columns_are_coco_ids_and_the_unused_ones_can_be_dropped(detector):
    name, size, theirs = detector
    whole, spec = torchvision_detector(name, theirs.state_dict())
    fewer, spec80 = torchvision_detector(name, theirs.state_dict(), classes=COCO_CLASSES)
    assert spec.classes == COCO_CLASSES_90
    assert spec.classes[11] == "N/A 12"
    assert (spec80.classes, spec80.num_logits) == (COCO_CLASSES, 81)
    # torchvision's own list of names, which starts with the background
    categories = torchvision.models.get_model_weights(name).COCO_V1.meta["categories"]
    assert [categories[index] for index in COCO_IDS] == list(COCO_CLASSES)
    assert {categories[index] for index in range(1, 91) if index not in COCO_IDS} == {"N/A"}
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(fewer(x)[0], whole(x)[0][..., [0, *COCO_IDS]])
        torch.testing.assert_close(fewer(x)[1], whole(x)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.clear(), "missing"),
        (
            lambda state: state.pop("backbone.extra.1.0.weight", state.pop("backbone.extra.1.0.0.weight", None)),
            "1 missing",
        ),
        (lambda state: state.update({"more": torch.zeros(1)}), "1 unexpected (such as more)"),
        (lambda state: state.update({key: torch.zeros(1) for key in list(state)[:2]}), "2 of another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(detector, change, message):
    name, _, theirs = detector
    state = dict(theirs.state_dict())
    change(state)
    with pytest.raises(ModelError) as caught:
        torchvision_detector(name, state)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_other_classes_is_refused(torchvision_models):
    state = torchvision_models["ssdlite320_mobilenet_v3_large"].state_dict()
    with pytest.raises(ModelError, match="12 of another shape"):
        torchvision_detector("ssdlite320_mobilenet_v3_large", state, classes=("cat", "dog"))


@pytest.mark.parametrize("name", ["", "ssd512_vgg16", "ssd300_vgg"])
def test_unknown_detectors(name):
    with pytest.raises(OptionError, match="no torchvision detector"):
        torchvision_detector(name, {})
    with pytest.raises(OptionError, match="known are ssd300_vgg16, ssdlite320_mobilenet_v3_large"):
        torchvision_state(name, {})


def test_a_file_that_torch_wrote_is_read_without_unpickling(tmp_path, torchvision_models):
    state = torchvision_models["ssdlite320_mobilenet_v3_large"].state_dict()
    torch.save(state, tmp_path / "weights.pth")
    model, _ = torchvision_detector("ssdlite320_mobilenet_v3_large", tmp_path / "weights.pth")
    x = torch.randn(1, 3, 320, 320)
    again, _ = torchvision_detector("ssdlite320_mobilenet_v3_large", state)
    with torch.no_grad():
        torch.testing.assert_close(model(x), again(x))


def test_the_published_weights_are_fetched_by_address_and_checksum(tmp_path, monkeypatch, torchvision_models):
    download = pytest.importorskip("edgessd.zoo.download")
    torch.save(torchvision_models["ssdlite320_mobilenet_v3_large"].state_dict(), tmp_path / "weights.pth")
    asked = []

    def fetch(url, sha256_prefix, name=None):
        asked.append((url, sha256_prefix))
        return tmp_path / "weights.pth"

    monkeypatch.setattr(download, "fetch", fetch)
    torchvision_detector("ssdlite320_mobilenet_v3_large")
    published = torchvision.models.detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1.url
    assert asked == [(published, "a79551df")]
