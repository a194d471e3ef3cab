"""torchao's PT2E, and the only file that knows it.

Everything else in this package sees four functions: `prepare` puts fake quantisation into a captured graph,
`observe` and `freeze` measure and fix the ranges, `convert` makes the integer graph. A graph stays in
evaluation mode throughout: batch norm is folded away before it is captured, so training it needs no other mode.

Activations are int8 affine per tensor (-128..127), weights int8 symmetric per output channel (-127..127).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgessd.errors import missing_extra
from edgessd.quantization.quiet import quiet
from edgessd.quantization.rounding import bounded_scale, on_grid, symmetric_scale

try:
    with quiet():  # torchao speaks of CUDA libraries that a CPU build lacks
        from torchao.quantization.pt2e import FakeQuantizeBase, HistogramObserver, allow_exported_model_train_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import (
            QuantizationAnnotation,
            QuantizationSpec,
            Quantizer,
            SharedQuantizationSpec,
        )
except ModuleNotFoundError as error:
    raise missing_extra(str(error.name), "export") from None

__all__ = [
    "Annotation",
    "FakeQuantizer",
    "PerChannelWeightFakeQuantize",
    "Shared",
    "Spec",
    "activation",
    "convert",
    "fake_quantizers",
    "freeze",
    "is_fake_quantizer",
    "observe",
    "origin",
    "parameter",
    "prepare",
    "quantize",
    "quantize_weights",
    "users",
    "weight",
]

Annotation, Shared, Spec = QuantizationAnnotation, SharedQuantizationSpec, QuantizationSpec
KEY = "quantization_annotation"
ACTIVATION_MIN, ACTIVATION_MAX = -128, 127
WEIGHT_MAX = 127


class FakeQuantizer(FakeQuantizeBase):  # type: ignore[misc]
    """What torchao's conversion reads of a fake quantiser, for ours."""

    scale: Tensor
    zero_point: Tensor
    dtype = torch.int8
    is_dynamic = False

    def __init__(self, qscheme: torch.qscheme, quant_min: int, quant_max: int) -> None:
        super().__init__()
        # torchao's own switches; ours are plain attributes, which cost no tensor at each call.
        del self.fake_quant_enabled, self.observer_enabled
        self.qscheme, self.quant_min, self.quant_max = qscheme, quant_min, quant_max
        self.enabled = True
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int32))

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The scale and the zero point, as training saw them: conversion must not measure anew."""
        return self.scale, self.zero_point


class ActivationFakeQuantize(FakeQuantizer):
    """int8 affine per tensor. Observes histograms first, then rounds within the frozen range.

    fixed: (scale, zero point) that are not measured. floor: values below it are cut off.
    """

    def __init__(self, fixed: tuple[float, int] | None = None, floor: float | None = None, **options: Any) -> None:
        super().__init__(torch.per_tensor_affine, ACTIVATION_MIN, ACTIVATION_MAX)
        self.fixed, self.floor = fixed, floor
        self.observer: nn.Module | None = None
        if fixed is not None:
            self.scale.fill_(fixed[0])
            self.zero_point.fill_(fixed[1])

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same, rounded."""
        if self.observer is not None:
            seen = x.detach().float()
            self.observer(seen if self.floor is None else seen.clamp(min=self.floor))
        if not self.enabled:
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.quant_min, self.quant_max)

    def freeze(self) -> None:
        """Take the range over from the observer, where it saw anything."""
        if self.observer is not None and bool(torch.isfinite(self.observer.min_val)):  # type: ignore[arg-type]
            scale, zero_point = self.observer.calculate_qparams()  # type: ignore[operator]
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        self.observer = None

    def set_range(self, low: float, high: float) -> None:
        """Cover low ... high, and zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-8) / (ACTIVATION_MAX - ACTIVATION_MIN)
        self.scale.fill_(scale)
        self.zero_point.fill_(min(max(ACTIVATION_MIN - round(low / scale), ACTIVATION_MIN), ACTIVATION_MAX))


class PerChannelWeightFakeQuantize(FakeQuantizer):
    """int8 symmetric per output channel; the scale follows the weights. torchao asks for `PerChannel` in the name.

    depthwise: round each kernel so that the sum of its taps is kept, see `rounding`; others stay within the bound of
    `pairs`. fixed: the weights lie on the grid already (`adaptive`), whose scale stays.
    """

    def __init__(self, depthwise: bool = False, **options: Any) -> None:
        super().__init__(torch.per_channel_symmetric, -WEIGHT_MAX, WEIGHT_MAX)
        self.depthwise, self.ch_axis, self.fixed = depthwise, 0, False
        self._known: tuple[tuple[int, ...], Tensor] | None = None

    def fix(self, scale: Tensor) -> None:
        """Keep `scale` [O] from now on."""
        self._set(scale)
        self.fixed = True

    def forward(self, weight: Tensor) -> Tensor:
        """[O, ...] -> the same on the grid."""
        rounded = self._round(weight.detach())
        if not self.enabled:
            return weight
        return weight + (rounded - weight).detach()  # the gradient passes straight through

    def _round(self, weight: Tensor) -> Tensor:
        """Choose the scale and round; weights that have not changed since were rounded already."""
        if self._known is None or self._known[0] != self._version(weight):
            if not self.fixed:
                self._set((symmetric_scale if self.depthwise else bounded_scale)(weight))
            keep_sum, bounded = self.depthwise and not self.fixed, not (self.depthwise or self.fixed)
            rounded = on_grid(weight, self.scale, keep_sum=keep_sum, bounded=bounded)
            self._known = self._version(weight), rounded
        return self._known[1]

    def _version(self, weight: Tensor) -> tuple[int, ...]:
        return weight.data_ptr(), weight._version, self.scale._version, int(self.fixed)

    def _set(self, scale: Tensor) -> None:
        if self.scale.shape != scale.shape:
            self.scale.resize_(scale.shape)
            self.zero_point.resize_(scale.shape).zero_()
        self.scale.copy_(scale)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in ("scale", "zero_point"):
            if f"{prefix}{name}" in state_dict:
                getattr(self, name).resize_(state_dict[f"{prefix}{name}"].shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def activation(fixed: tuple[float, int] | None = None, floor: float | None = None) -> Any:
    """Return the annotation of an activation; see `ActivationFakeQuantize`."""
    return Spec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=ActivationFakeQuantize.with_args(fixed=fixed, floor=floor),
        quant_min=ACTIVATION_MIN,
        quant_max=ACTIVATION_MAX,
        qscheme=torch.per_tensor_affine,
    )


def weight(depthwise: bool) -> Any:
    """Return the annotation of a convolution's weight."""
    return Spec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=PerChannelWeightFakeQuantize.with_args(depthwise=depthwise),
        quant_min=-WEIGHT_MAX,
        quant_max=WEIGHT_MAX,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )


class _Annotator(Quantizer):  # type: ignore[misc]
    def __init__(self, annotate: Any) -> None:
        super().__init__()
        self._annotate = annotate

    def annotate(self, model: GraphModule) -> GraphModule:
        self._annotate(model)
        return model

    def validate(self, model: GraphModule) -> None:
        pass


def prepare(graph: GraphModule, annotate: Any) -> GraphModule:
    """Return a copy of `graph` with fake quantisation where `annotate(graph)` has put annotations."""
    with quiet():
        prepared: GraphModule = prepare_pt2e(copy.deepcopy(graph), _Annotator(annotate))
        allow_exported_model_train_eval(prepared)  # wrappers call eval(); here it changes nothing
    return prepared


def fake_quantizers(graph: GraphModule) -> Iterator[ActivationFakeQuantize | PerChannelWeightFakeQuantize]:
    """All of them, each once."""
    for module in graph.modules():
        if isinstance(module, FakeQuantizer):
            yield module


def observe(graph: GraphModule, *, quantized: bool = False) -> None:
    """Begin to measure the ranges of activations; the graph computes in float meanwhile, unless `quantized`."""
    for module in fake_quantizers(graph):
        module.enabled = quantized
        if isinstance(module, ActivationFakeQuantize) and module.fixed is None:
            module.observer = HistogramObserver(
                dtype=torch.int8,
                qscheme=torch.per_tensor_affine,
                quant_min=ACTIVATION_MIN,
                quant_max=ACTIVATION_MAX,
            )


def freeze(graph: GraphModule) -> None:
    """End measuring: ranges stay from now on, and the graph computes as the integer network will."""
    for module in fake_quantizers(graph):
        module.enabled = True
        if isinstance(module, ActivationFakeQuantize):
            module.freeze()


def quantize(graph: GraphModule, enabled: bool) -> None:
    """Switch the rounding of the whole graph on or off."""
    for module in fake_quantizers(graph):
        module.enabled = enabled


def quantize_weights(graph: GraphModule, enabled: bool) -> None:
    """Switch the rounding of the weights alone on or off."""
    for module in fake_quantizers(graph):
        if isinstance(module, PerChannelWeightFakeQuantize):
            module.enabled = enabled


def convert(graph: GraphModule, *, fold: bool) -> GraphModule:
    """Return the graph with integer weights (fold) or quantise operators in front of float ones.

    `graph` stays as it is. Its rounded weights are put in first, so that the plain rounding of the conversion
    finds every value on the grid and both graphs compute the same.
    """
    with quiet():
        copied = copy.deepcopy(graph)
    for node in copied.graph.nodes:
        module = copied.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, PerChannelWeightFakeQuantize):
            source = node.args[0]
            assert isinstance(source, Node) and source.op == "get_attr"
            parameter = _attribute(copied, str(source.target))
            with torch.no_grad():
                parameter.copy_(module(parameter))
    with quiet():
        converted: GraphModule = convert_pt2e(copied, fold_quantize=fold)
        allow_exported_model_train_eval(converted)
    return converted


def is_fake_quantizer(graph: GraphModule, node: Any) -> bool:
    """Say whether a node is a call of a fake quantiser."""
    return (
        isinstance(node, Node)
        and node.op == "call_module"
        and isinstance(graph.get_submodule(str(node.target)), FakeQuantizer)
    )


def origin(graph: GraphModule, node: Any) -> Node:
    """The operator whose result a node is, before fake quantisation."""
    while is_fake_quantizer(graph, node):
        node = node.args[0]
    assert isinstance(node, Node)
    return node


def users(graph: GraphModule, node: Node) -> Iterator[Node]:
    """The operators that read a node, behind fake quantisation."""
    for user in node.users:
        if is_fake_quantizer(graph, user):
            yield from users(graph, user)
        else:
            yield user


def parameter(graph: GraphModule, node: Any) -> Tensor:
    """The parameter or buffer that an operator reads, before fake quantisation."""
    return _attribute(graph, str(origin(graph, node).target))


def _attribute(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(owner), name)
    assert isinstance(value, Tensor)
    return value
