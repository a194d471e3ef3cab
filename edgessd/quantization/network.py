"""A network with fake quantisation: made from a float one, saved with its recipe, and prepared again from it.

A quantised checkpoint is a safetensors file with float weights, the scale and zero point of every activation,
the spec, and a `Recipe`: from these the same graph can be prepared, trained further and exported at any time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.fx import GraphModule, Node

from edgessd.errors import InputError, ModelError, SpecError
from edgessd.evaluation.distance import BOX_SCORE, SCORE
from edgessd.io.files import atomic_write
from edgessd.models.ssd import SSD, build_ssd
from edgessd.quantization import pt2e
from edgessd.quantization.adaptive import round_adaptively as round_graph
from edgessd.quantization.calibration import Calibration
from edgessd.quantization.capture import capture, center_input, split_activations
from edgessd.quantization.equalization import equalize as equalize_graph
from edgessd.quantization.quantizer import LOGIT_FLOOR, MOVES, annotator
from edgessd.quantization.recipe import RECIPE_KEY, Recipe
from edgessd.spec import METADATA_KEY, ModelSpec, QuantizationSpec


@dataclass
class QuantizedNetwork:
    """A prepared graph (float pictures [B, 3, H, W] in, logits and offsets out), its spec and its recipe.

    The spec's input is centred, see `capture.center_input`. Between `prepare_network` and `calibrate` the
    ranges of the activations are not known yet.
    """

    graph: GraphModule
    spec: ModelSpec
    recipe: Recipe

    def copied(self) -> QuantizedNetwork:
        """Return a network of its own with the same weights."""
        graph = _prepare(build_ssd(self.recipe.source).eval(), self.recipe, "dynamic")[0]
        _load(graph, self.graph.state_dict(), self.recipe, self.spec.name)
        return QuantizedNetwork(graph, self.spec, self.recipe)

    def converted(self, *, batch: int | Literal["dynamic"], fold: bool) -> GraphModule:
        """Return the integer graph for that batch, see `pt2e.convert`; it computes what `graph` computes."""
        graph = self.graph
        if batch != "dynamic":
            graph = _prepare(build_ssd(self.recipe.source).eval(), self.recipe, batch)[0]
            _load(graph, self.graph.state_dict(), self.recipe, self.spec.name)
        return pt2e.convert(graph, fold=fold)


def prepare_network(model: SSD, spec: ModelSpec, *, keep_float: Sequence[str] = ()) -> QuantizedNetwork:
    """Return the fake-quantised network of a float one, not calibrated yet; `model` is not changed.

    Raises OptionError for a pattern of `keep_float` that matches no module, and for a network whose
    normalisation cannot be folded.
    """
    recipe = Recipe(source=spec, keep_float=tuple(keep_float), torch=torch.__version__.partition("+")[0])
    graph, centred = _prepare(model, recipe, "dynamic")
    pt2e.quantize(graph, False)
    return QuantizedNetwork(graph, msgspec.structs.replace(centred, precision="int8"), recipe)


def calibrate(network: QuantizedNetwork, pictures: Calibration, *, method: Literal["ptq", "qat"] = "ptq") -> None:
    """Measure the ranges of all activations on `pictures`, by histograms, and fix them, in place.

    A network that was calibrated before is measured with its rounding on: the ranges are those that the
    integer network meets.
    """
    logits, offsets = (_output_quantizer(network.graph, index) for index in (0, 1))
    pt2e.observe(network.graph, quantized=network.spec.quantization is not None)
    seen = _Outputs(network.spec)
    for each in (logits, offsets):
        if each is not None:
            each.enabled = False  # the outputs as they are before they are rounded
    with torch.no_grad():
        for batch in pictures.batches(network.spec.input):
            seen.add(*network.graph(batch))
    pt2e.freeze(network.graph)
    _tie_products_with_constants(network.graph)
    if seen.any:
        for each, (low, high) in ((logits, seen.logits), (offsets, seen.offsets)):
            if each is not None:
                each.set_range(low, high)
    network.spec = msgspec.structs.replace(
        network.spec,
        quantization=QuantizationSpec(
            method=method,
            tool="edgessd, torchao PT2E",
            activations="int8",
            calibration_images=len(pictures.paths),
            calibration_sha256=pictures.sha256,
            kept_float=network.recipe.keep_float,
        ),
    )


def equalize(network: QuantizedNetwork, pictures: Calibration) -> dict[str, Tensor]:
    """Give the channels of an activation the same range where nothing else changes; see `equalization.equalize`."""
    factors = equalize_graph(network.graph, pictures.batches(network.spec.input))
    network.recipe = msgspec.structs.replace(network.recipe, equalized=True)
    return factors


def round_adaptively(network: QuantizedNetwork, pictures: Calibration) -> None:
    """Put the weights of a calibrated network on their grids, in place, see `adaptive`."""
    round_graph(network.graph, pictures.batches(network.spec.input))
    network.recipe = msgspec.structs.replace(network.recipe, rounding="adaptive")


def quantize(
    model: SSD,
    spec: ModelSpec,
    pictures: Calibration,
    *,
    keep_float: Sequence[str] = (),
    equalization: bool = True,
    rounding: Literal["nearest", "adaptive"] = "adaptive",
) -> QuantizedNetwork:
    """Quantise a float network after training (PTQ): equalise, calibrate, round; `model` is not changed.

    Raises OptionError as `prepare_network` does.
    """
    network = prepare_network(model, spec, keep_float=keep_float)
    if equalization:
        equalize(network, pictures)
    calibrate(network, pictures)
    if rounding == "adaptive":
        round_adaptively(network, pictures)
    return network


def save_quantized(path: str | os.PathLike[str], network: QuantizedNetwork) -> None:
    """Write a calibrated network to `path`, whole or not at all. Raises ModelError where that fails."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.graph.state_dict().items()}
    recipe = msgspec.json.encode(network.recipe).decode()
    metadata = {METADATA_KEY: network.spec.to_json(), RECIPE_KEY: recipe, "format": "pt"}
    try:
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except (InputError, OSError, SafetensorError) as error:
        raise ModelError(f"cannot write the checkpoint {path}: {error}") from None


def load_quantized(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """Read what `save_quantized` wrote.

    Raises ModelError for a file that is missing, damaged or whose tensors do not fit its recipe, SpecError
    where the spec or the recipe is missing or cannot be read.
    """
    file = Path(path)
    try:
        with safe_open(str(file), framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"no such checkpoint: {file}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file} is not a whole safetensors file: {error}") from None
    if METADATA_KEY not in metadata:
        raise SpecError(f"{file} has no '{METADATA_KEY}' in its header, so it is not a checkpoint of edgessd")
    spec = ModelSpec.from_json(metadata[METADATA_KEY])
    if RECIPE_KEY not in metadata:
        raise SpecError(
            f"{file} carries no recipe of its quantisation ('{RECIPE_KEY}'), so its graph cannot be prepared again: "
            "it was not written by `edgessd quantize` or `edgessd qat`"
        )
    try:
        recipe = msgspec.json.decode(metadata[RECIPE_KEY], type=Recipe)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SpecError(f"the recipe of {file} cannot be read: {error}") from None
    graph, centred = _prepare(build_ssd(recipe.source).eval(), recipe, "dynamic")
    if spec.quantization is None or (centred.input, centred.priors, centred.classes) != (
        spec.input,
        spec.priors,
        spec.classes,
    ):
        raise SpecError(f"the spec of {file} does not belong to its recipe")
    _load(graph, tensors, recipe, str(file))
    return QuantizedNetwork(graph, spec, recipe)


def _prepare(model: SSD, recipe: Recipe, batch: int | Literal["dynamic"]) -> tuple[GraphModule, ModelSpec]:
    graph = capture(model, recipe.source, batch=batch)
    spec = center_input(graph, recipe.source)
    split_activations(graph)
    return pt2e.prepare(graph, annotator(spec, recipe.keep_float)), spec


def _load(graph: GraphModule, tensors: Mapping[str, Tensor], recipe: Recipe, origin: str) -> None:
    own = graph.state_dict()
    wrong = sorted(set(own) ^ set(tensors))
    if not wrong:
        # Scales of weights are resized when they are loaded: there the shape says nothing.
        wrong = [k for k, v in own.items() if v.shape != tensors[k].shape and not k.endswith((".scale", ".zero_point"))]
    if wrong:
        made = f" (it was made with torch {recipe.torch}, this is {torch.__version__})" if recipe.torch else ""
        raise ModelError(f"the tensors of {origin} do not fit its recipe, such as {wrong[0]}{made}")
    graph.load_state_dict(dict(tensors), strict=True)
    pt2e.freeze(graph)
    if recipe.rounding == "adaptive":
        for quantizer in pt2e.fake_quantizers(graph):
            if isinstance(quantizer, pt2e.PerChannelWeightFakeQuantize):
                quantizer.fix(quantizer.scale)


def _tie_products_with_constants(graph: GraphModule) -> None:
    """Let x * c, for a constant c > 0, have the integers of x at c times its scale: nothing is left to compute."""
    for node in graph.graph.nodes:
        if node.target is not torch.ops.aten.mul.Tensor or not pt2e.is_fake_quantizer(graph, node.args[0]):
            continue
        if pt2e.origin(graph, node.args[1]).op != "get_attr":
            continue
        constant = pt2e.parameter(graph, node.args[1])
        readers = [user for user in node.users if pt2e.is_fake_quantizer(graph, user)]
        if constant.numel() != 1 or float(constant) <= 0 or not readers:
            continue
        source, result = (graph.get_submodule(str(each.target)) for each in (node.args[0], readers[0]))
        assert isinstance(source, pt2e.FakeQuantizer) and isinstance(result, pt2e.FakeQuantizer)
        result.scale.copy_(source.scale * float(constant))
        result.zero_point.copy_(source.zero_point)


class _Outputs:
    """Ranges of the two outputs over the priors that see something: the rest never reaches anybody.

    A range over all priors would be twice as wide for the sake of background, a histogram would cut off the
    highest logits, which are rare and all that counts.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.logits = self.offsets = (float("inf"), -float("inf"))

    @property
    def any(self) -> bool:
        return self.offsets[0] <= self.offsets[1]

    def add(self, logits: Tensor, offsets: Tensor) -> None:
        """Logits [B, P, K], offsets [B, P, 4]."""
        softmax = self.spec.scores == "softmax"
        scores = logits.softmax(dim=2)[..., 1:] if softmax else logits.sigmoid()
        best = scores.amax(dim=2)
        low, high = _widen(self.logits, logits[best > SCORE])
        self.logits = (low if softmax else max(low, LOGIT_FLOOR), high)
        self.offsets = _widen(self.offsets, offsets[best > BOX_SCORE])


def _widen(known: tuple[float, float], values: Tensor) -> tuple[float, float]:
    if not len(values):
        return known
    return min(known[0], float(values.min())), max(known[1], float(values.max()))


def _output_quantizer(graph: GraphModule, index: int) -> pt2e.ActivationFakeQuantize | None:
    """The fake quantiser of an output; None where the output stays float."""
    node = next(node for node in graph.graph.nodes if node.op == "output").args[0][index]
    while isinstance(node, Node):
        if pt2e.is_fake_quantizer(graph, node):
            module = graph.get_submodule(str(node.target))
            return module if isinstance(module, pt2e.ActivationFakeQuantize) else None
        if node.target not in MOVES:
            return None
        node = node.args[0]
    return None
