import msgspec
import pytest
import torch

from edgessd.errors import ModelError
from edgessd.models import build_ssd, create_model
from edgessd.ops.priors import explicit_priors, tensorflow_priors
from edgessd.training.norm import Folded, is_folded, norms, reestimate
from edgessd.training.transfer import Source, read_source, transfer

SMALL = "timm:mobilenetv3_small_050"


def network(classes, scores="softmax"):
    return create_model("ssdlite", classes=classes, size=160, backbone=SMALL, scores=scores, receptive_fields=False)


@pytest.fixture(scope="module")
def sources():
    torch.manual_seed(1)
    return {scores: network(("airplane", "dog", "cat"), scores) for scores in ("softmax", "sigmoid")}


def columns(model, spec, level, part):
    layer = model.head.logits[level][1]
    value = getattr(layer, part)
    return value.detach().reshape(len(spec.priors.levels[level].boxes), -1, *value.shape[1:])


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_class_columns_go_by_name(sources, scores, part):
    source, theirs = sources[scores]
    model, spec = network(("dog", "horse", "aeroplane"))
    report = transfer(model, spec, Source("source", (source, theirs)))
    assert report.mapped == (("dog", "dog"), ("aeroplane", "airplane"))
    assert report.fresh == ("horse",)
    shift = scores == "softmax"
    for level in range(len(spec.priors.levels)):
        ours, other = columns(model, spec, level, part), columns(source, theirs, level, part)
        assert torch.equal(ours[:, 1], other[:, 1 + shift])
        assert torch.equal(ours[:, 3], other[:, 0 + shift])
        assert torch.equal(ours[:, 0], other[:, 0] if shift else torch.zeros_like(ours[:, 0]))
    rest = [
        key for key in model.state_dict() if not key.startswith("head.logits") or "0." in key.split("logits.")[1][2:]
    ]
    assert all(
        torch.equal(model.state_dict()[key], source.state_dict()[key]) for key in rest if "head.logits" not in key
    )


def test_a_network_with_a_finer_level_says_what_the_source_says_on_the_others(sources):
    """Heads went by number: each level got its finer neighbour's, or none."""
    source, theirs = sources["softmax"]

    def rule(maps):
        boxes = [[(0.05, 0.05)], *(level.boxes for level in tensorflow_priors(maps[1:]).levels)]
        return explicit_priors(maps, boxes)

    model, spec = create_model(
        "ssdlite",
        classes=theirs.classes,
        size=160,
        backbone=SMALL,
        backbone_options={"out_strides": (8, 16, 32)},
        top_down=16,
        priors=rule,
        receptive_fields=False,
    )
    report = transfer(model, spec, Source("source", (source, theirs)))
    assert {key.split(".")[0] for key in report.new} == {"neck", "head"}
    assert {".".join(key.split(".")[:3]) for key in report.new} >= {"head.logits.0", "head.offsets.0"}
    assert not any(key.startswith(("head.logits.1", "head.offsets.1")) for key in report.new)
    x = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        for ours, other in zip(model.eval()(x), source.eval()(x), strict=True):
            assert torch.allclose(ours[:, -other.shape[1] :], other, atol=1e-6)
    source.train()


def test_softmax_to_sigmoid_takes_the_difference_to_the_background(sources):
    source, theirs = sources["softmax"]
    model, spec = network(("cat",), "sigmoid")
    transfer(model, spec, Source("source", (source, theirs)))
    other = columns(source, theirs, 1, "weight")
    assert torch.allclose(columns(model, spec, 1, "weight")[:, 0], other[:, 3] - other[:, 0])


def test_the_scores_of_copied_classes_are_those_of_the_source(sources):
    """One class: softmax over (0, l) is the sigmoid of l."""
    source, theirs = sources["sigmoid"]
    model, spec = network(("dog",))
    transfer(model, spec, Source("source", (source, theirs)))
    x = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        ours = model.eval()(x)[0].softmax(dim=2)[..., 1]
        other = source.eval()(x)[0].sigmoid()[..., 1]
    assert torch.allclose(ours, other, atol=1e-5)


def test_new_classes_start_unlikely(sources):
    source, theirs = sources["softmax"]
    model, spec = network(("lorry", "bus"))
    transfer(model, spec, Source("source", (source, theirs)))
    with torch.no_grad():
        scores = model.eval()(torch.randn(1, 3, 160, 160))[0].softmax(dim=2)[..., 1:]
    assert scores.max() < 0.05


def test_other_network_is_refused(sources):
    model, spec = create_model("ssd", classes=("dog",), size=160, backbone="timm:resnet18", receptive_fields=False)
    with pytest.raises(ModelError, match="nothing of source fits"):
        transfer(model, spec, Source("source", sources["softmax"]))


def test_files_are_recognised(start, tmp_path):
    assert read_source(str(start)).detector is not None
    torch.save({"conv_stem.weight": torch.zeros(1)}, tmp_path / "backbone.pth")
    assert read_source(str(tmp_path / "backbone.pth")).classifier.keys() == {"conv_stem.weight"}
    with pytest.raises(ModelError, match="no such weights file"):
        read_source(str(tmp_path / "none.pth"))


def test_a_classifier_fills_the_backbone():
    from edgessd._torchvision import timm

    classifier = timm.create_model(SMALL.removeprefix("timm:"), pretrained=False).state_dict()
    model, spec = network(("dog",))
    report = transfer(model, spec, Source("timm's", classifier=dict(classifier)))
    assert torch.equal(model.state_dict()["backbone.stem.0.weight"], classifier["conv_stem.weight"])
    assert all(not key.startswith("backbone") for key in report.new) and report.new


def moved(spec):
    """A network whose batch norms have seen something."""
    torch.manual_seed(3)
    model = build_ssd(spec)
    model.train()
    with torch.no_grad():
        for layer in norms(model):
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.normal_(0, 0.1)
        for _ in range(20):
            model(torch.randn(4, 3, 160, 160))
    return model.eval()


def test_folded_and_restored_is_the_same_function(sources):
    spec = sources["softmax"][1]
    model = moved(spec)
    x = torch.randn(2, 3, 160, 160)
    folded = Folded(model, x[:1])
    assert not norms(folded.network)
    other = build_ssd(spec)
    other.load_state_dict(folded.restore(folded.network.state_dict()))
    with torch.no_grad():
        expected, inside, restored = model(x)[0], folded.network.eval()(x)[0], other.eval()(x)[0]
    assert torch.allclose(expected, inside, atol=1e-4) and torch.allclose(inside, restored, atol=1e-5)
    assert is_folded(other) and not is_folded(model) and not is_folded(build_ssd(spec))


def test_reestimated_statistics_leave_the_evaluation_as_it_was(sources):
    model = moved(sources["softmax"][1])
    x = torch.randn(8, 3, 160, 160) * 3 + 1
    with torch.no_grad():
        before = model(x)[0]
        reestimate(model, [x[:4], x[4:]])
        after = model(x)[0]
        assert torch.allclose(before, after, atol=2e-4 * float(before.abs().max()))
        # With the statistics of this very data, training mode sees what evaluation sees.
        again = model.train()(x)[0]
    assert torch.allclose(after, again, atol=2e-2 * float(after.abs().max()))


def test_tensorflow_weights(shared):
    path = shared / "weights/ssdlite_mobilenet_v2_coco.safetensors"
    source = read_source(str(path))
    model, theirs = source.detector
    assert is_folded(model) and theirs.scores == "sigmoid"
    spec = msgspec.structs.replace(theirs, classes=("aeroplane", "cell"), scores="softmax")
    target = build_ssd(spec)
    report = transfer(target, spec, source)
    assert report.mapped == (("aeroplane", "airplane"),) and report.fresh == ("cell",) and not report.new
