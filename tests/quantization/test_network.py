import shutil

import msgspec
import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edgessd import Detector
from edgessd.errors import InputError, ModelError, OptionError, SpecError
from edgessd.export import export_model
from edgessd.export.verify import verify
from edgessd.io.images import load_image
from edgessd.models.checkpoint import save_checkpoint
from edgessd.ops.preprocess import preprocess
from edgessd.quantization import (
    calibrate,
    calibration_pictures,
    load_quantized,
    prepare_network,
    pt2e,
    quantize,
    save_quantized,
)
from edgessd.quantization.capture import capture, center_input, split_activations
from edgessd.quantization.quantizer import annotator
from edgessd.quantization.recipe import RECIPE_KEY, is_quantized
from edgessd.quantization.sensitivity import draw, sensitivity

from .conftest import small_model


@pytest.fixture(scope="module")
def pictures(picture_folder, quantized):
    paths = sorted(picture_folder.iterdir())
    return torch.from_numpy(np.stack([preprocess(load_image(path), quantized.spec.input) for path in paths]))


def outputs(network, x):
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize(("fold", "batch"), [(True, "dynamic"), (False, 1)])
def test_the_converted_network_equals_the_fake_quantised_one(quantized, pictures, fold, batch):
    x = pictures if batch == "dynamic" else pictures[:1]
    converted = quantized.converted(batch=batch, fold=fold)
    for mine, expected in zip(outputs(converted, x), outputs(quantized.graph, x), strict=True):
        assert expected.abs().max() > 0.1
        assert torch.equal(mine, expected)


def test_quantisation_rounds_and_stays_near(quantized, pictures):
    rounded = outputs(quantized.graph, pictures)
    pt2e.quantize(quantized.graph, False)
    floats = outputs(quantized.graph, pictures)
    pt2e.quantize(quantized.graph, True)
    for mine, expected in zip(rounded, floats, strict=True):
        assert 0.001 < (mine - expected).square().mean().sqrt() / expected.square().mean().sqrt() < 0.35
        assert len(torch.unique(mine)) <= 256


def test_every_convolution_is_integer_and_keeps_its_bias_float(quantized):
    graph = quantized.converted(batch="dynamic", fold=True)
    convolutions = [node for node in graph.graph.nodes if node.target == torch.ops.aten.conv2d.default]
    assert len(convolutions) > 60
    for node in convolutions:
        weight, bias = node.args[1], node.args[2]
        assert "dequantize_per_channel" in str(weight.target)
        assert bias.op == "get_attr"


@pytest.mark.parametrize(("mean", "scale"), [((100.0,) * 3, (50.0, 60.0, 70.0)), ((127.5,) * 3, (127.5,) * 3)])
def test_centring_the_input_changes_nothing_but_the_border(small, mean, scale):
    model, spec = small
    spec = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, mean=mean, scale=scale))
    graph = capture(model, spec)
    x = torch.rand(2, 3, 160, 160) * 255
    before = outputs(graph, (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(scale).view(1, 3, 1, 1))
    centred = center_input(graph, spec)
    assert centred.input.mean == (float(round(mean[0])),) * 3
    assert centred.input.scale == pytest.approx((sum(scale) / 3,) * 3)
    after = outputs(graph, (x - centred.input.mean[0]) / centred.input.scale[0])
    # A border of zeros stands for the mean; it is a whole number in the first case and half a step off in the other.
    tolerance = 1e-4 if mean[0] == 100 else 0.1
    for a, b in zip(after, before, strict=True):
        assert torch.allclose(a, b, atol=tolerance * float(b.abs().max()))


def test_activations_are_split_without_changing_the_function():
    model, spec = small_model("timm:mobilenetv3_small_050", size=160)
    graph = capture(model, spec)
    x = torch.randn(2, 3, 160, 160)
    before = outputs(graph, x)
    split_activations(graph)
    targets = {str(node.target) for node in graph.graph.nodes}
    assert not targets & {"aten.hardswish.default", "aten.hardsigmoid.default"}
    for a, b in zip(outputs(graph, x), before, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_a_sixth_of_a_hard_sigmoid_costs_nothing(tmp_path, picture_folder):
    """The product with a constant has the integers of what is multiplied, and the ONNX file does without it."""
    model, spec = small_model("timm:mobilenetv3_small_050", size=160)
    network = quantize(model, spec, calibration_pictures(picture_folder, 4), rounding="nearest")
    graph = network.graph
    products = [
        node
        for node in graph.graph.nodes
        if node.target == torch.ops.aten.mul.Tensor and pt2e.origin(graph, node.args[1]).op == "get_attr"
    ]
    assert len(products) > 10
    for node in products:
        before, after = (graph.get_submodule(each.target) for each in (node.args[0], next(iter(node.users))))
        assert torch.allclose(after.scale, before.scale / 6) and after.zero_point == before.zero_point
    export_model(network, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    constants = {tensor.name for tensor in proto.graph.initializer}
    made = {node.output[0]: node for node in proto.graph.node}
    multiplied = [node for node in proto.graph.node if node.op_type == "Mul"]
    assert multiplied and all(made[name].input[0] not in constants for node in multiplied for name in node.input)
    report = verify(tmp_path / "model.onnx", (graph, network.spec), images=picture_folder)
    assert max(report.rms_logits, report.rms_offsets) < 0.08


def test_modules_kept_float_are_not_rounded(small):
    network = prepare_network(*small, keep_float=["head.offsets.*.1"])
    pt2e.freeze(network.graph)
    graph = network.converted(batch="dynamic", fold=True)
    floats = [
        node
        for node in graph.graph.nodes
        if node.target == torch.ops.aten.conv2d.default and node.args[1].op == "get_attr"
    ]
    assert len(floats) == len(small[1].priors.levels)
    assert all("offsets" in str(node.args[1].target) for node in floats)


def test_a_pattern_that_matches_nothing_names_the_near_ones(small):
    with pytest.raises(OptionError, match=r"no module .*head.offset.0.1.*did you mean 'head.offsets.0.1'"):
        prepare_network(*small, keep_float=["head.offset.0.1"])


def test_a_saved_network_is_prepared_again_with_the_same_answers(tmp_path, quantized, pictures):
    file = tmp_path / "int8.safetensors"
    save_quantized(file, quantized)
    assert is_quantized(file)
    again = load_quantized(file)
    assert again.spec == quantized.spec
    for mine, expected in zip(outputs(again.graph, pictures), outputs(quantized.graph, pictures), strict=True):
        assert torch.equal(mine, expected)


def test_a_detector_runs_a_quantised_checkpoint(tmp_path, quantized, picture_folder):
    file = tmp_path / "int8.safetensors"
    save_quantized(file, quantized)
    with Detector.load(file, score_threshold=0.01) as detector:
        assert detector.spec.quantization is not None
        assert len(detector(sorted(picture_folder.iterdir())[0])) > 0


def test_the_spec_says_how_it_was_calibrated(quantized):
    how = quantized.spec.quantization
    assert how.method == "ptq" and how.calibration_images == 12 and len(how.calibration_sha256) == 64
    assert quantized.spec.precision == "int8"


def rewrite(source, target, metadata=None, drop=None):
    with safe_open(str(source), framework="pt") as reader:
        tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
        kept = dict(reader.metadata()) | (metadata or {})
    tensors.pop(drop, None)
    save_file(tensors, target, metadata={key: value for key, value in kept.items() if value})


def test_damaged_quantised_checkpoints_are_one_line(tmp_path, quantized, small):
    file = tmp_path / "int8.safetensors"
    save_quantized(file, quantized)
    bad = tmp_path / "bad.safetensors"
    rewrite(file, bad, {RECIPE_KEY: ""})
    with pytest.raises(SpecError, match="no recipe"):
        load_quantized(bad)
    rewrite(file, bad, {RECIPE_KEY: "{}"})
    with pytest.raises(SpecError, match=r"recipe .* cannot be read"):
        load_quantized(bad)
    rewrite(file, bad, drop="backbone.stem.0.weight")
    with pytest.raises(ModelError, match="do not fit its recipe, such as"):
        load_quantized(bad)
    other = msgspec.structs.replace(quantized.spec, classes=("cup", "dog"))
    rewrite(file, bad, {"edgessd.spec": other.to_json()})
    with pytest.raises(SpecError, match="does not belong"):
        load_quantized(bad)
    bad.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="not a whole safetensors"):
        load_quantized(bad)
    with pytest.raises(ModelError, match="no such checkpoint"):
        load_quantized(tmp_path / "none.safetensors")
    floats = tmp_path / "float.safetensors"
    save_checkpoint(floats, *small)
    assert not is_quantized(floats)


def test_calibration_leaves_out_broken_pictures_and_names_them(tmp_path, picture_folder):
    folder = tmp_path / "pictures"
    shutil.copytree(picture_folder, folder)
    (folder / "00.png").write_bytes(b"no picture")
    found = calibration_pictures(folder)
    assert len(found.paths) == 11 and len(found.failures) == 1 and "00.png" in found.failures[0]
    assert found.sha256 != calibration_pictures(picture_folder).sha256
    assert len(calibration_pictures(folder, 5).paths) in (4, 5)


def test_calibration_takes_a_list_of_pictures(picture_folder):
    paths = sorted(picture_folder.iterdir())
    assert calibration_pictures(reversed(paths)) == calibration_pictures(picture_folder)
    assert calibration_pictures(paths, 5) == calibration_pictures(picture_folder, 5)
    with pytest.raises(InputError, match="the list holds no picture"):
        calibration_pictures([])


def test_calibration_needs_pictures(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        calibration_pictures(tmp_path / "none")
    with pytest.raises(InputError, match="no pictures in this folder"):
        calibration_pictures(tmp_path)
    with pytest.raises(OptionError, match="at least one"):
        calibration_pictures(tmp_path, 0)


def test_sensitivity_finds_the_layer_that_was_spoilt(small, picture_folder, tmp_path):
    network = prepare_network(*small)
    calibrate(network, calibration_pictures(picture_folder))
    spoilt = next(
        q for q in pt2e.fake_quantizers(network.graph) if isinstance(q, pt2e.ActivationFakeQuantize) and q.fixed is None
    )
    spoilt.scale.mul_(20)
    costs = sensitivity(network, sorted(picture_folder.iterdir())[:4])
    assert costs[0].kind == "activations"
    assert costs[0].scores >= costs[-1].scores
    assert all(each.enabled for each in pt2e.fake_quantizers(network.graph))
    draw(costs, tmp_path / "layers.png")
    assert load_image(tmp_path / "layers.png").shape[0] > 100


def test_the_preprocessing_of_calibration_training_and_runtime_is_one_array(picture_folder, quantized):
    """Five preprocessings that disagree are what other projects' users complain of."""
    from edgessd.export.job import bytes_input
    from edgessd.training.data import normalize

    path = sorted(picture_folder.iterdir())[0]
    image = load_image(path)
    tensor = quantized.spec.input
    [calibrated] = next(calibration_pictures(picture_folder, 12).batches(tensor))[:1]
    runtime = preprocess(image, tensor)
    whole = bytes_input(quantized.spec, layout="NHWC").input
    picture = preprocess(image, whole)
    trained = normalize(torch.from_numpy(picture).permute(2, 0, 1)[None], tensor)[0]
    dequantised = (picture.astype(np.float32) - whole.quantization_zero_point) * np.float32(whole.quantization_scale)
    assert np.array_equal(calibrated.numpy(), runtime)
    assert np.array_equal(trained.numpy(), runtime)
    np.testing.assert_allclose(dequantised.transpose(2, 0, 1), runtime, atol=1e-6)
    assert annotator(quantized.spec) is not None


def test_what_a_model_writes_in_place_is_quantised_as_well():
    """ResNet adds its shortcuts with +=."""
    model, spec = small_model("timm:resnet10t")
    network = prepare_network(model, spec)
    targets = [node.target for node in network.graph.graph.nodes]
    assert torch.ops.aten.add_.Tensor not in targets
    sums = [node for node in network.graph.graph.nodes if node.target == torch.ops.aten.add.Tensor]
    assert len(sums) >= 4
    for node in sums:
        last = next(iter(node.users)) if torch.ops.aten.relu.default in [u.target for u in node.users] else node
        assert any(pt2e.is_fake_quantizer(network.graph, user) for user in last.users)
