"""From the network to a graph that can be quantised: batch norm folded, input centred, activations split.

B batch, H and W pixels.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgessd.errors import OptionError
from edgessd.models.fold import fold_batch_norm
from edgessd.models.ssd import SSD
from edgessd.quantization.quiet import quiet
from edgessd.spec import ModelSpec

_ATEN = torch.ops.aten
# torch.export keeps what a model writes in place; the rules of quantisation know the other form.
_OUT_OF_PLACE = {
    _ATEN.add_.Tensor: _ATEN.add.Tensor,
    _ATEN.mul_.Tensor: _ATEN.mul.Tensor,
    _ATEN.relu_.default: _ATEN.relu.default,
    _ATEN.hardtanh_.default: _ATEN.hardtanh.default,
    _ATEN.clamp_.default: _ATEN.clamp.default,
}
_PADS = (_ATEN.pad.default, _ATEN.constant_pad_nd.default)


def inference_copy(model: SSD, spec: ModelSpec) -> SSD:
    """Return the network as exporters want it: a copy in evaluation mode, batch norm folded, nothing in place."""
    device = next(model.parameters()).device
    folded = fold_batch_norm(model, torch.zeros(1, *spec.input.tensor_shape, device=device))
    for module in folded.modules():
        if getattr(module, "inplace", False) is True:
            # torch.export takes in-place activations apart into many operators, at a tenth of a second each.
            setattr(module, "inplace", False)  # noqa: B010
    return folded


def capture(model: SSD, spec: ModelSpec, *, batch: int | Literal["dynamic"] = "dynamic") -> GraphModule:
    """Return the ATen graph of the network in evaluation mode, batch norm folded; `model` is not changed."""
    # Two pictures: torch.export takes a size of one for a constant even where it is declared dynamic.
    example = torch.zeros(2 if batch == "dynamic" else batch, *spec.input.tensor_shape)
    folded = inference_copy(model, spec).cpu()
    shapes: Any = ({0: torch.export.Dim("batch", min=1, max=65535)},) if batch == "dynamic" else None
    with quiet():
        graph = torch.export.export(folded, (example,), dynamic_shapes=shapes).module()
    assert isinstance(graph, GraphModule)
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and "guard" in str(node.target):  # checks of the input's shape
            graph.graph.erase_node(node)
        else:
            _leave_in_place(node)
    graph.graph.lint()
    graph.recompile()
    return graph


def _leave_in_place(node: Node) -> None:
    """Let an operator return what it wrote into its input, where all later ones read its result."""
    if node.target not in _OUT_OF_PLACE:
        return
    written = node.args[0]
    later = False
    for other in node.graph.nodes:
        if later and written in other.all_input_nodes:
            return  # somebody reads the input after it was overwritten: it stays in place
        later = later or other is node
    node.target = _OUT_OF_PLACE[node.target]


def center_input(graph: GraphModule, spec: ModelSpec) -> ModelSpec:
    """Fold the normalisation into the first convolution, in place; return the spec of the graph that is left.

    Afterwards the input is (pixel - zero point) / scale with one whole zero point and one scale for all channels,
    so that an integer tensor holds the picture as it is. What the first convolution pads its border with
    stands for the zero point instead of each channel's mean: the only thing that changes.

    Raises OptionError where the input feeds anything but one convolution.
    """
    tensor = spec.input
    mean, scale = torch.tensor(tensor.mean), torch.tensor(tensor.scale)
    zero_point = round(float(mean.mean()))
    common = float(scale.mean())
    image = next(node for node in graph.graph.nodes if node.op == "placeholder")
    conv = _only_user(image)
    if conv is not None and conv.target in _PADS:
        conv = _only_user(conv)
    if conv is None or conv.target != _ATEN.conv2d.default or not 0 <= zero_point <= 255:
        raise OptionError(
            f"the network {spec.name!r} does not begin with one convolution, so its normalisation cannot be folded "
            "into it: export it as fp32 or fp16"
        )
    weight = _tensor(graph, conv.args[1])
    bias = _tensor(graph, conv.args[2]) if len(conv.args) > 2 and conv.args[2] is not None else None
    channels = weight.shape[1]
    shift = ((zero_point - mean) / scale).reshape(1, channels, 1, 1)
    with torch.no_grad():
        added = (weight.double() * shift).sum(dim=(1, 2, 3))
        if bias is not None:
            bias.add_(added.to(bias.dtype))
        elif float(added.abs().max()) > 0:
            raise OptionError(f"the first convolution of {spec.name!r} has no bias to take the normalisation's mean")
        weight.mul_((common / scale).reshape(1, channels, 1, 1))
    changed = msgspec.structs.replace(tensor, mean=(float(zero_point),) * 3, scale=(common,) * 3)
    return msgspec.structs.replace(spec, input=changed)


def split_activations(graph: GraphModule) -> None:
    """Write hard-swish, hard-sigmoid and SiLU as operators that runtimes compute in int8, in place.

    hardsigmoid(x) = relu6(x + 3) / 6; hardswish(x) = x * hardsigmoid(x); silu(x) = x * sigmoid(x). Constants are
    buffers of shape (1, 1, 1, 1), so that they get a scale of their own.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function":
            continue
        x = node.args[0] if node.args else None
        with graph.graph.inserting_before(node):
            if node.target in (_ATEN.hardswish.default, _ATEN.hardswish_.default):
                result = _call(graph, node, _ATEN.mul.Tensor, x, _hard_sigmoid(graph, node, x))
            elif node.target in (_ATEN.hardsigmoid.default, _ATEN.hardsigmoid_.default):
                result = _hard_sigmoid(graph, node, x)
            elif node.target in (_ATEN.silu.default, _ATEN.silu_.default):
                result = _call(graph, node, _ATEN.mul.Tensor, x, _call(graph, node, _ATEN.sigmoid.default, x))
            else:
                continue
        node.replace_all_uses_with(result)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()


def _hard_sigmoid(graph: GraphModule, near: Node, x: Any) -> Node:
    shifted = _call(graph, near, _ATEN.add.Tensor, x, _constant(graph, near, "three", 3.0))
    bounded = _call(graph, near, _ATEN.hardtanh.default, shifted, 0.0, 6.0)
    return _call(graph, near, _ATEN.mul.Tensor, bounded, _constant(graph, near, "sixth", 1 / 6))


def _constant(graph: GraphModule, near: Node, name: str, value: float) -> Node:
    full = f"_constant_{name}"
    if not hasattr(graph, full):
        graph.register_buffer(full, torch.full((1, 1, 1, 1), value))
    node: Node = graph.graph.get_attr(full)
    fake = near.meta.get("val")
    if isinstance(fake, Tensor):
        node.meta["val"] = fake.new_empty((1, 1, 1, 1))
    return node


def _call(graph: GraphModule, near: Node, target: Any, *args: Any) -> Node:
    node: Node = graph.graph.call_function(target, args)
    node.meta.update(near.meta)
    return node


def _only_user(node: Node) -> Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _tensor(graph: GraphModule, node: Any) -> Tensor:
    value: Any = graph
    for part in str(node.target).split("."):
        value = getattr(value, part)
    assert isinstance(value, Tensor)
    return value
