import json
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgessd.errors import ModelError, OptionError
from edgessd.export import export_onnx
from edgessd.export.onnx import fold_paddings, to_onnx
from edgessd.models import create_model
from edgessd.models.weights import tensorflow_ssdlite
from edgessd.spec import METADATA_KEY, ModelSpec


def session(proto_or_path):
    source = proto_or_path if isinstance(proto_or_path, str) else proto_or_path.SerializeToString()
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    model, spec = create_model(
        "ssdlite",
        backbone="timm:mobilenetv2_035",
        backbone_options={"pad_type": "same"},
        size=160,
        classes=("tomato", "crème brûlée"),
        receptive_fields=False,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 160, 160))
    return model.eval(), spec


@pytest.fixture(scope="module")
def exported(tmp_path_factory, pair):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(*pair, path)
    return path


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_onnx_runtime_agrees_with_torch_at_any_batch(exported, pair, batch):
    x = torch.randn(batch, 3, 160, 160)
    results = session(str(exported)).run(["logits", "offsets"], {"image": x.numpy()})
    with torch.no_grad():
        for result, expected in zip(results, pair[0](x), strict=True):
            assert 0.1 < float(expected.abs().max()) < 100
            np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)


def test_the_file_describes_itself(exported, pair):
    proto = onnx.load(exported)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert set(metadata) == {METADATA_KEY, "names"}
    assert ModelSpec.from_json(metadata[METADATA_KEY]) == pair[1]
    assert json.loads(metadata["names"]) == {"0": "tomato", "1": "crème brûlée"}
    assert (proto.producer_name, proto.opset_import[0].version) == ("edgessd", 18)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    priors = pair[1].priors.count
    assert shapes == {
        "image": ["batch", 3, 160, 160],
        "logits": ["batch", priors, 3],
        "offsets": ["batch", priors, 4],
    }


def test_the_graph_holds_no_norm_no_padding_and_no_shape_arithmetic(exported):
    kinds = {node.op_type for node in onnx.load(exported).graph.node}
    assert kinds == {"Conv", "Clip", "Add", "Transpose", "Reshape", "Concat"}


def test_nothing_is_left_beside_the_file_and_nothing_is_printed(tmp_path, pair, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        export_onnx(*pair, tmp_path / "model.onnx", batch=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize("slim", [True, False])
def test_a_fixed_batch(pair, slim):
    proto = to_onnx(*pair, batch=2, slim=slim)
    assert [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 160, 160]
    assert "Pad" not in {node.op_type for node in proto.graph.node}
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        for result, expected in zip(session(proto).run(None, {"image": x.numpy()}), pair[0](x), strict=True):
            np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)


def test_exporting_leaves_the_model_as_it_was(pair):
    model, spec = pair
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inplace = [getattr(module, "inplace", None) for module in model.modules()]
    model.train()
    to_onnx(model, spec, batch=1)
    assert model.training
    assert inplace == [getattr(module, "inplace", None) for module in model.modules()]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.eval()


@pytest.mark.parametrize("batch", [0, -1, "two", 1.5])
def test_a_batch_that_is_none(tmp_path, pair, batch):
    with pytest.raises(OptionError, match="'dynamic' or at least 1"):
        export_onnx(*pair, tmp_path / "model.onnx", batch=batch)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist(tmp_path, pair):
    with pytest.raises(ModelError, match="cannot write") as caught:
        export_onnx(*pair, tmp_path / "nowhere" / "model.onnx", batch=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ssd300_vgg16", pytest.param("ssdlite320_mobilenet_v3_large", marks=pytest.mark.slow)]
)
def test_the_published_architectures(name):
    torch.manual_seed(0)
    model, spec = create_model(name, classes=("a", "b"), receptive_fields=False)
    model.eval()
    x = torch.randn(1, 3, spec.input.height, spec.input.width)
    if name == "ssd300_vgg16":
        x *= 50  # its input is not divided by the standard deviation
    results = session(to_onnx(model, spec, batch=1)).run(None, {"image": x.numpy()})
    with torch.no_grad():
        for result, expected in zip(results, model(x), strict=True):
            largest = max(1.0, float(expected.abs().max()))
            np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4 * largest)


def test_tensorflows_network(shared):
    model, spec = tensorflow_ssdlite(shared / "weights/ssdlite_mobilenet_v2_coco.safetensors")
    proto = to_onnx(model, spec)
    counts = [sum(node.op_type == kind for node in proto.graph.node) for kind in ("Conv", "Pad")]
    assert counts == [88, 0]
    x = torch.rand(2, 3, 300, 300) * 2 - 1
    with torch.no_grad():
        for result, expected in zip(session(proto).run(None, {"image": x.numpy()}), model(x), strict=True):
            np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-4)


# --- fold_paddings -------------------------------------------------------------------------------------


def padded_convolution(pads, *, own=(1, 0, 0, 0), fill=0.0, mode="constant", readers=1):
    """image -> Pad -> Conv, with `readers` convolutions behind the padding."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32), "weight")
    amounts = numpy_helper.from_array(np.array(pads, np.int64), "amounts")
    value = numpy_helper.from_array(np.array(fill, np.float32), "fill")
    nodes = [helper.make_node("Pad", ["image", "amounts", "fill"], ["padded"], mode=mode)]
    names = [f"out{k}" for k in range(readers)]
    nodes += [helper.make_node("Conv", ["padded", "weight"], [name], pads=own, strides=[2, 2]) for name in names]
    graph = helper.make_graph(
        nodes,
        "padding",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, "h", "w"]) for name in names],
        [weight, amounts, value],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("pads", "options", "folds"),
    [
        ((0, 0, 0, 0, 0, 0, 0, 0), {}, True),
        ((0, 0, 0, 0, 0, 0, 1, 1), {}, True),
        ((0, 0, 1, 2, 0, 0, 3, 0), {}, True),
        ((0, 0, 1, 1, 0, 0, 1, 1), {"fill": 1.0}, False),
        ((0, 0, 1, 1, 0, 0, 1, 1), {"mode": "reflect"}, False),
        ((0, 0, 0, 0, 0, 0, 1, 1), {"readers": 2}, False),
        ((0, 0, -1, 0, 0, 0, 0, 0), {}, False),
    ],
)
def test_zero_paddings_become_pads_of_the_convolution(pads, options, folds):
    proto = padded_convolution(pads, **options)
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = session(proto).run(None, {"image": x})
    fold_paddings(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert ("Pad" not in {node.op_type for node in proto.graph.node}) == folds
    for result, reference in zip(session(proto).run(None, {"image": x}), expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=0, atol=1e-5)
    assert ("amounts" not in {value.name for value in proto.graph.initializer}) == folds
