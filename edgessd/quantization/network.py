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
from torch.fx import GraphModule

from edgessd.errors import InputError, ModelError, SpecError
from edgessd.io.files import atomic_write
from edgessd.models.ssd import SSD, build_ssd
from edgessd.quantization import pt2e
from edgessd.quantization.calibration import Calibration
from edgessd.quantization.capture import capture, center_input, split_activations
from edgessd.quantization.quantizer import annotator
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

    def converted(self, *, batch: int | Literal["dynamic"], fold: bool) -> GraphModule:
        """Return the integer graph for that batch, see `pt2e.convert`; it computes what `graph` computes."""
        graph = self.graph
        if batch != "dynamic":
            graph = _prepare(build_ssd(self.recipe.source).eval(), self.recipe, batch)[0]
            _load(graph, self.graph.state_dict(), self.spec.name)
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
    pt2e.observe(network.graph, quantized=network.spec.quantization is not None)
    with torch.no_grad():
        for batch in pictures.batches(network.spec.input):
            network.graph(batch)
    pt2e.freeze(network.graph)
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
    _load(graph, tensors, str(file), recipe.torch)
    return QuantizedNetwork(graph, spec, recipe)


def _prepare(model: SSD, recipe: Recipe, batch: int | Literal["dynamic"]) -> tuple[GraphModule, ModelSpec]:
    graph = capture(model, recipe.source, batch=batch)
    spec = center_input(graph, recipe.source)
    split_activations(graph)
    return pt2e.prepare(graph, annotator(spec, recipe.keep_float)), spec


def _load(graph: GraphModule, tensors: Mapping[str, Tensor], origin: str, version: str = "") -> None:
    own = graph.state_dict()
    wrong = sorted(set(own) ^ set(tensors))
    if not wrong:
        # Scales of weights are resized when they are loaded: there the shape says nothing.
        wrong = [k for k, v in own.items() if v.shape != tensors[k].shape and not k.endswith((".scale", ".zero_point"))]
    if wrong:
        made = f" (it was made with torch {version}, this is {torch.__version__})" if version else ""
        raise ModelError(f"the tensors of {origin} do not fit its recipe, such as {wrong[0]}{made}")
    graph.load_state_dict(dict(tensors), strict=True)
    pt2e.freeze(graph)
