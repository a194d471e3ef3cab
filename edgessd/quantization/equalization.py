"""Cross-layer equalisation: every channel of an activation gets the same range, and the network stays what it was.

One scale serves a whole activation, so a channel whose values are a tenth of the others' keeps a tenth of the
resolution. Where nothing but additions, ReLU and padding lie between convolutions, channel c can be multiplied by
s[c] in all convolutions that make it and divided by s[c] in all that read it: the same function, in which each
channel fills the grid. In a MobileNetV2 these are the linear bottlenecks and their sums, which cost most of what
8-bit activations lose. Weights lose nothing by the first half (their scales are per output channel) and little by
the second, which adaptive rounding takes up.

After Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1,
with ranges measured on pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgessd.quantization import pt2e

_ATEN = torch.ops.aten
_CONVOLUTION = _ATEN.conv2d.default
# f(s x) = s f(x) for s > 0, channel by channel.
_HOMOGENEOUS = (
    _ATEN.add.Tensor,
    _ATEN.relu.default,
    _ATEN.max_pool2d.default,
    _ATEN.pad.default,
    _ATEN.constant_pad_nd.default,
)
# A channel that is nearly always zero is not blown up beyond this.
MOST = 100.0


@dataclass(frozen=True)
class _Group:
    """Activations that share their channels' scales, and the convolutions that read them."""

    members: tuple[Node, ...]
    readers: tuple[Node, ...]


def equalize(graph: GraphModule, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Equalise the channel ranges of a prepared graph, in place; return what each parameter was multiplied by.

    batches: normalised pictures [B, 3, H, W] to measure the ranges on. The graph computes in float meanwhile and
    afterwards; its ranges are to be calibrated after this. The factors have the parameter's shape, with 1 where a
    whole axis shares one; gradients times their squares are those of the network as it was, in its new scales.
    """
    groups = _groups(graph)
    pt2e.quantize(graph, False)
    largest = _largest(graph, {node for group in groups for node in group.members}, batches)
    factors: dict[Tensor, Tensor] = {}
    for group in groups:
        ranges = torch.stack([largest[node] for node in group.members if node in largest]).amax(dim=0)
        for parameter, factor in _factors(graph, group, (ranges.amax() / ranges.clamp(min=1e-12)).clamp(max=MOST)):
            with torch.no_grad():
                parameter.mul_(factor)
            factors[parameter] = factors[parameter] * factor if parameter in factors else factor
    return {name: factors[value] for name, value in graph.named_parameters() if value in factors}


def _groups(graph: GraphModule) -> list[_Group]:
    nodes = [
        node
        for node in graph.graph.nodes
        if node.op == "call_function" and node.target in (_CONVOLUTION, *_HOMOGENEOUS)
    ]
    leader: dict[Node, Node] = {node: node for node in nodes}

    def find(node: Node) -> Node:
        while leader[node] is not node:
            node = leader[node]
        return node

    for node in nodes:
        if node.target in _HOMOGENEOUS:
            for source in _sources(graph, node):
                if source in leader:
                    leader[find(source)] = find(node)
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        found.setdefault(find(node), []).append(node)
    shared = _shared_weights(graph, nodes)
    groups = []
    for members in found.values():
        readers = _readers(graph, members)
        if readers and not shared.intersection([*members, *readers]):
            groups.append(_Group(tuple(members), tuple(readers)))
    return groups


def _readers(graph: GraphModule, members: list[Node]) -> list[Node]:
    """The convolutions that read a group; none where anything else reads it or feeds it."""
    inside, readers = set(members), []
    for node in members:
        if node.target in _HOMOGENEOUS:
            constant_padding = node.target not in _HOMOGENEOUS[3:] or not (any(node.args[3:]) or node.kwargs)
            if not constant_padding or any(source not in inside for source in _sources(graph, node)):
                return []
        for user in pt2e.users(graph, node):
            if user in inside and user.target in _HOMOGENEOUS:
                continue
            if user.target != _CONVOLUTION or pt2e.origin(graph, user.args[0]) is not node:
                return []
            weight, groups = pt2e.parameter(graph, user.args[1]), user.args[6] if len(user.args) > 6 else 1
            if groups != 1 and weight.shape[1] != 1:
                return []
            readers.append(user)
    return readers


def _sources(graph: GraphModule, node: Node) -> list[Node]:
    count = 2 if node.target is _ATEN.add.Tensor else 1
    return [pt2e.origin(graph, arg) for arg in node.args[:count] if isinstance(arg, Node)]


def _shared_weights(graph: GraphModule, nodes: list[Node]) -> set[Node]:
    """Convolutions that share their weights with another."""
    owners: dict[int, list[Node]] = {}
    for node in nodes:
        if node.target == _CONVOLUTION:
            owners.setdefault(id(pt2e.parameter(graph, node.args[1])), []).append(node)
    return {node for each in owners.values() if len(each) > 1 for node in each}


def _largest(graph: GraphModule, nodes: set[Node], batches: Iterable[Tensor]) -> dict[Node, Tensor]:
    """[C] largest magnitude of each channel, of those nodes whose output is quantised."""
    quantized = {node for node in nodes if any(pt2e.is_fake_quantizer(graph, user) for user in node.users)}
    found: dict[Node, Tensor] = {}

    class Ranges(Interpreter):
        def run_node(self, n: Node) -> Any:
            result = super().run_node(n)
            if n in quantized:
                seen = result.abs().amax(dim=(0, 2, 3))
                found[n] = torch.maximum(found[n], seen) if n in found else seen
            return result

    with torch.no_grad():
        for batch in batches:
            Ranges(graph).run(batch)
    return found


def _factors(graph: GraphModule, group: _Group, scale: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """What the parameters of a group's makers and readers are to be multiplied by."""
    for node in group.members:
        if node.target == _CONVOLUTION:
            yield pt2e.parameter(graph, node.args[1]), scale.reshape(-1, 1, 1, 1)
            if len(node.args) > 2 and node.args[2] is not None:
                yield pt2e.parameter(graph, node.args[2]), scale
    for node in group.readers:
        depthwise = len(node.args) > 6 and node.args[6] != 1
        yield pt2e.parameter(graph, node.args[1]), 1 / scale.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))
