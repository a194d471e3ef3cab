"""Which layers cost most: each one's rounding alone, against the float network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgessd.evaluation.distance import add_differences, summed
from edgessd.io.images import load_image
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.preprocess import preprocess
from edgessd.quantization import pt2e
from edgessd.quantization.network import QuantizedNetwork
from edgessd.quantization.quantizer import CONVOLUTIONS, module_of


@dataclass(frozen=True)
class LayerCost:
    """What rounding one layer costs: RMS of the boxes (offsets) and scores, see `distance.Distance`.

    kind: `weights` of a convolution, or `activations` that it makes.
    """

    module: str
    kind: str
    boxes: float
    scores: float


def sensitivity(
    network: QuantizedNetwork, pictures: Sequence[Path], say: Callable[[int, int], None] = lambda done, total: None
) -> list[LayerCost]:
    """Switch on one fake quantiser after the other and measure; the costliest layer comes first.

    pictures: a few dozen are enough. Weights are rounded to nearest here: measure before they are rounded adaptively,
    which leaves nothing to switch off. say: is told how many layers of how many are done. `network` is left as it was.
    """
    spec = network.spec
    images = torch.from_numpy(np.stack([preprocess(load_image(path), spec.input) for path in pictures]))
    layers = _layers(network)
    pt2e.quantize(network.graph, False)
    expected = _run(network, images)
    costs = []
    try:
        for done, (module, kind, quantizer) in enumerate(layers):
            quantizer.enabled = True
            found = _run(network, images)
            quantizer.enabled = False
            sums = np.zeros((4, 2))
            for mine, theirs in zip(found, expected, strict=True):
                add_differences(sums, mine, theirs, spec)
            away = summed(sums)
            costs.append(LayerCost(module, kind, away.boxes, away.scores))
            say(done + 1, len(layers))
    finally:
        pt2e.quantize(network.graph, True)
    return sorted(costs, key=lambda cost: -_total(cost))


def _total(cost: LayerCost) -> float:
    """Both figures in shares of what a whole network usually loses."""
    return float(np.nan_to_num(cost.boxes) / 0.075 + np.nan_to_num(cost.scores) / 0.019)


def _layers(network: QuantizedNetwork) -> list[tuple[str, str, pt2e.FakeQuantizer]]:
    """(module, kind, fake quantiser), each quantiser once, in the order of the graph."""
    graph = network.graph
    found, seen = [], set()
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        quantizer = graph.get_submodule(str(node.target))
        if not isinstance(quantizer, pt2e.FakeQuantizer) or id(quantizer) in seen:
            continue
        seen.add(id(quantizer))
        source = node.args[0]
        weights = isinstance(quantizer, pt2e.PerChannelWeightFakeQuantize)
        owner = next((user for user in node.users if user.target in CONVOLUTIONS), source) if weights else source
        found.append((module_of(owner) or str(source), "weights" if weights else "activations", quantizer))
    return found


def _run(network: QuantizedNetwork, images: Tensor) -> list[RawOutputs]:
    outputs = []
    with torch.no_grad():
        for start in range(0, len(images), 16):
            logits, offsets = network.graph(images[start : start + 16])
            for row in range(len(logits)):
                outputs.append(RawOutputs(logits[row : row + 1].numpy(), offsets[row : row + 1].numpy()))
    return outputs


def draw(costs: Sequence[LayerCost], path: Path, most: int = 25) -> None:
    """Draw the costliest layers as bars and write the picture (PNG) to `path`."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    from edgessd.io.files import atomic_write

    shown = list(costs[:most])[::-1]
    figure = Figure(figsize=(10, 1.5 + 0.28 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    labels = [f"{cost.module} ({cost.kind})" for cost in shown]
    colors = ["#4477aa" if cost.kind == "weights" else "#ee7733" for cost in shown]
    left.barh(labels, [cost.boxes for cost in shown], color=colors)
    left.set_xlabel("RMS of box offsets (score > 0.3)")
    right.barh(labels, [cost.scores for cost in shown], color=colors)
    right.set_xlabel("RMS of scores (> 0.05)")
    figure.suptitle("Cost of rounding one layer alone: weights blue, activations orange")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
