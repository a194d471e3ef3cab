"""Which tensors of a captured graph become int8: one rule for each kind of operator.

Convolutions, additions, products, pooling and concatenations are integer, with the ReLU behind them in the same step.
What only moves values (permute, reshape, max pooling, enlarging) keeps the scale of its input. Bias stays float here:
every runtime rounds it to int32 at the product of the two scales. Operators without a rule stay float (softmax, L2
norm, layer norm, ...), and so does every module that the caller names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgessd.errors import OptionError, did_you_mean
from edgessd.quantization import pt2e
from edgessd.quantization.pairs import is_depthwise
from edgessd.spec import ModelSpec

_ATEN = torch.ops.aten
CONVOLUTIONS = (_ATEN.conv2d.default,)
RELUS = (_ATEN.relu.default, _ATEN.hardtanh.default, _ATEN.relu6.default, _ATEN.clamp.default)
SUMS = (_ATEN.add.Tensor, _ATEN.mul.Tensor)
POOLS = (_ATEN.mean.dim, _ATEN.adaptive_avg_pool2d.default, _ATEN.avg_pool2d.default)
MOVES = (
    _ATEN.permute.default,
    _ATEN.reshape.default,
    _ATEN.view.default,
    _ATEN.flatten.using_ints,
    _ATEN.max_pool2d.default,
    _ATEN.upsample_nearest2d.vec,
    _ATEN.slice.Tensor,
    _ATEN.contiguous.default,
    _ATEN.clone.default,
    _ATEN.dropout.default,
)
# A sigmoid lies between 0 and 1: every runtime asks for exactly this scale.
SIGMOID = (1 / 256, -128)
# Below this logit a sigmoid's score is under 0.0004: cutting it off leaves the grid to what can be seen.
LOGIT_FLOOR = -8.0


def annotator(spec: ModelSpec, keep_float: Sequence[str] = ()) -> Callable[[GraphModule], None]:
    """Return the function that annotates a captured graph whose input was centred (`capture.center_input`).

    keep_float: patterns such as `head.offsets.*.1` (shell wildcards over the names of modules): convolutions
    whose module or one of its parents matches stay float. The function raises OptionError for a pattern that
    matches nothing.
    """

    def annotate(graph: GraphModule) -> None:
        _Annotation(graph, spec, keep_float).run()

    return annotate


def module_of(node: Node) -> str:
    """Dotted name of the module that a node comes from; empty where it is not known."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [str(entry[0]) for entry in stack.values()]
    return names[-1] if names else ""


class _Annotation:
    def __init__(self, graph: GraphModule, spec: ModelSpec, keep_float: Sequence[str]) -> None:
        self.graph, self.spec, self.keep_float = graph, spec, keep_float
        self.floats = self._floats()
        self.logits, self.offsets = self._outputs()

    def run(self) -> None:
        """Visit the operators in the order of the graph."""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self._put(node, {}, self._image())
            elif node.op != "call_function" or pt2e.KEY in node.meta or node in self.floats:
                continue
            elif node.target in CONVOLUTIONS:
                self._convolution(node)
            elif node.target in SUMS:
                self._sum(node)
            elif node.target in POOLS and _is_float(node):
                self._put(node, {node.args[0]: pt2e.activation()}, pt2e.activation())
            elif node.target is _ATEN.sigmoid.default:
                self._put(node, {node.args[0]: pt2e.activation()}, pt2e.activation(fixed=SIGMOID))
            elif node.target is _ATEN.cat.default:
                self._cat(node)
            elif node.target in (*MOVES, *RELUS) and self._is_quantized(node.args[0]):
                shared = pt2e.Shared(node.args[0])
                if node.target in RELUS:
                    self._put(node, {node.args[0]: shared}, pt2e.activation())
                else:
                    self._put(node, {node.args[0]: shared}, shared)

    def _image(self) -> Any:
        tensor = self.spec.input
        return pt2e.activation(fixed=(1 / tensor.scale[0], round(tensor.mean[0]) - 128))

    def _convolution(self, node: Node) -> None:
        image, weight = node.args[0], node.args[1]
        assert isinstance(image, Node) and isinstance(weight, Node)
        kernel = weight.meta["val"]
        groups = int(node.args[6]) if len(node.args) > 6 else 1  # type: ignore[arg-type]
        inputs: dict[Any, Any] = {weight: pt2e.weight(depthwise=is_depthwise(kernel.shape, groups))}
        pad = image if image.target in (_ATEN.pad.default, _ATEN.constant_pad_nd.default) else None
        if pad is not None and len(pad.users) == 1 and not any(pad.args[3:]) and not any(pad.kwargs.values()):
            # Zeros around the map are exact on every grid: the padding belongs to the convolution, which
            # finds it there when its file is written.
            self._put(pad, {pad.args[0]: pt2e.activation()}, None)
        else:
            inputs[image] = pt2e.activation()
        self._put_with_relu(node, inputs, self._output_of(node))

    def _sum(self, node: Node) -> None:
        if not _is_float(node) or not all(isinstance(arg, Node) for arg in node.args[:2]):
            return
        inputs = {arg: pt2e.activation() for arg in node.args[:2]}
        self._put_with_relu(node, inputs, pt2e.activation())

    def _cat(self, node: Node) -> None:
        parts = list(node.args[0])  # type: ignore[arg-type]
        if not parts or not all(self._is_quantized(part) for part in parts):
            return
        first = pt2e.Shared((parts[0], node))
        inputs: dict[Any, Any] = dict.fromkeys(parts[1:], first)
        inputs[parts[0]] = self._output_of(node)
        self._put(node, inputs, first)

    def _put_with_relu(self, node: Node, inputs: dict[Any, Any], output: Any) -> None:
        """Annotate a node, and the ReLU that alone reads it as one step with it."""
        user = next(iter(node.users)) if len(node.users) == 1 else None
        if user is not None and user.target in RELUS and user not in self.floats:
            self._put(node, inputs, None)
            self._put(user, {}, output)
        else:
            self._put(node, inputs, output)

    def _output_of(self, node: Node) -> Any:
        cut = self.spec.scores == "sigmoid" and node in self.logits
        return pt2e.activation(floor=LOGIT_FLOOR if cut else None)

    def _put(self, node: Node, inputs: dict[Any, Any], output: Any) -> None:
        node.meta[pt2e.KEY] = pt2e.Annotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)

    def _is_quantized(self, node: Any) -> bool:
        return isinstance(node, Node) and pt2e.KEY in node.meta and node.meta[pt2e.KEY].output_qspec is not None

    def _floats(self) -> set[Node]:
        """The operators of modules that are to stay float."""
        found: set[Node] = set()
        nodes = [node for node in self.graph.graph.nodes if node.op == "call_function"]
        for pattern in self.keep_float:
            matching = [node for node in nodes if _matches(module_of(node), pattern)]
            if not matching:
                names = sorted({module_of(node) for node in nodes if node.target in CONVOLUTIONS})
                near = did_you_mean(pattern, names)
                raise OptionError(f"no module of {self.spec.name!r} is called {pattern!r}{near}")
            found.update(matching)
        return found

    def _outputs(self) -> tuple[set[Node], set[Node]]:
        """The nodes between the last convolutions and each of the two outputs."""
        result = next(node for node in self.graph.graph.nodes if node.op == "output").args[0]
        return _tail(result[0]), _tail(result[1])


def _tail(node: Node) -> set[Node]:
    found, waiting = set(), [node]
    while waiting:
        each = waiting.pop()
        found.add(each)
        if each.target in (*MOVES, _ATEN.cat.default):
            waiting.extend(each.all_input_nodes)
    return found


def _matches(module: str, pattern: str) -> bool:
    parts = module.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.dtype.is_floating_point
